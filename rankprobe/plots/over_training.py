"""A run over its training: dev scores with invalid answers, and spectra at some steps. Not in the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rankprobe.errors import RankprobeError
from rankprobe.plots.groups import all_run_ids, group_runs
from rankprobe.plots.legend import finish_figure
from rankprobe.plots.marks import BAND_OPACITY, draw_baselines
from rankprobe.plots.panels import panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.spectra import EDGE_LINES
from rankprobe.plots.style import COLOURS, style
from rankprobe.plots.twins import draw_envelope, twin_label, twins_note
from rankprobe.runs import Frames, over_seeds
from rankprobe.twins import TWINS, twin_prefix

SCORE_COLOUR, INVALID_LINE = "#0b3c6f", {"color": "#b5480b", "linestyle": (0, (1, 1)), "linewidth": 1.4}

MATRICES = {"P": "P", "dP": "ΔP"}
"""The matrices of a spectrum, by their name in the log, and their symbol."""

STEP_COLOURS = ("#8c8c8c", "#6f8fb3", "#5769a3", "#0b3c6f")
"""From the first to the last step of a spectrum."""

Edges = Mapping[str, Mapping[str, float]]
"""The upper edge of noise by matrix (`P`, `dP`) and by its name; smaller singular values may be noise."""


def scores(frames: Frames, *, look: str = "screen") -> Figure:
    """Dev score over training, with the baseline and the share of invalid answers: a panel per group of runs.

    The score is the first metric of the task, on the rows that select the best step and, with
    `report_split = half`, on the half that is reported. Several seeds are drawn as their mean, with a band
    from minimum to maximum.

    Raises:
        RankprobeError: no run was evaluated.
    """
    if frames.evals.empty:
        raise RankprobeError("no logged evaluation to draw; train a run first: rankprobe probe")
    metrics = dict(zip(frames.runs["run_id"], frames.runs["metric"], strict=True))
    rows = frames.evals.astype({"run_id": str, "split": str})
    rows = rows[rows["metric"] == rows["run_id"].map(metrics)]
    rows = rows[rows["scoring"] == rows.groupby("run_id")["scoring"].transform("first")]
    rows = rows.assign(invalid=100 * rows["n_invalid"] / rows["n_examples"])
    groups = [group for group in group_runs(frames) if rows["run_id"].isin(group.run_ids).any()]
    if not groups:
        raise RankprobeError("no logged evaluation to draw; train a run first: rankprobe probe")
    with style(look) as sizes:
        figure, all_axes = panels(len(groups), sizes)
        for axes, group in zip(all_axes, groups, strict=True):
            axes.set_title(group.title)
            _draw_scores(axes, rows[rows["run_id"].isin(group.run_ids)])
        finish_figure(figure, sizes)
    return attach_run_ids(figure, all_run_ids(groups))


def _draw_scores(axes: Axes, rows: pd.DataFrame) -> None:
    for split, part in rows.groupby("split"):
        points = over_seeds(part, ["step"], "value")
        line = {"color": SCORE_COLOUR, "linewidth": 1.6, "linestyle": "-" if split != "report" else "--"}
        name = {"validation": "dev score", "report": "score of the reported half"}.get(str(split), str(split))
        axes.plot(points["step"], points["mean"], label=name, **line)
        if (points["n_seeds"] > 1).any():
            axes.fill_between(
                points["step"],
                points["min"],
                points["max"],
                color=SCORE_COLOUR,
                alpha=BAND_OPACITY,
                linewidth=0,
            )
    invalid = over_seeds(rows, ["step"], "invalid")
    axes.plot(invalid["step"], invalid["mean"], label="invalid answers", **INVALID_LINE)
    draw_baselines(axes, rows["baseline"])
    metric = str(rows["metric"].iloc[0]).replace("_", " ")
    axes.set(xlabel="step (optimizer updates)", ylabel=f"dev {metric} (%)", ylim=(-2, 102))


def spectra_over_steps(
    frames: Frames, *, edges: Edges | None = None, count: int = 4, look: str = "screen"
) -> Figure:
    """Singular values of P and ΔP over their index at some steps, log scale, with the noise twins at the end.

    Args:
        frames: runs that differ only in their seed. Values are means over seeds.
        edges: horizontal lines; singular values below them can be noise.
        count: number of steps, from the first to the last that are logged.
        look: `screen` or `paper`.

    Raises:
        RankprobeError: no run has logged a spectrum.
    """
    spectra = frames.spectra.reindex(columns=["step", "matrix", "index", "value"])
    found = [name for name in MATRICES if (spectra["matrix"] == name).any()]
    if not found:
        raise RankprobeError("no logged spectra to draw; train a run first: rankprobe probe")
    spectra = spectra.assign(index=spectra["index"] + 1)  # logs count from 0, figures and formulas from 1
    means = spectra.groupby(["matrix", "step", "index"], observed=True)["value"].mean()
    kinds = [kind for kind in TWINS if (spectra["matrix"] == f"{twin_prefix(kind)}{found[0]}").any()]
    with style(look) as sizes:
        figure, all_axes = panels(len(found), sizes)
        for axes, matrix in zip(all_axes, found, strict=True):
            steps = sorted(means[matrix].index.get_level_values("step").unique())
            chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, count).round().astype(int))]
            twins = {
                kind: _floored(means[name][chosen[-1]])
                for kind in kinds
                if (name := f"{twin_prefix(kind)}{matrix}") in means
                and chosen[-1] in means[name].index.get_level_values("step")
            }
            if len(twins) > 1:
                draw_envelope(axes, twins, COLOURS["n_positive"][1], f"{twin_label(kinds)}, last step")
            elif twins:
                (s,) = twins.values()
                axes.plot(
                    s.index, s, "--", color=COLOURS["n_positive"][1], label=f"{twin_label(kinds)}, last step"
                )
            for step, colour in zip(chosen, STEP_COLOURS[-len(chosen) :], strict=True):
                s = _positive(means[matrix][step])
                if len(s):
                    axes.plot(s.index, s, color=colour, label=f"step {step}", linewidth=1.4)
            for (name, edge), (colour, line) in zip(
                (edges or {}).get(matrix, {}).items(), EDGE_LINES, strict=False
            ):
                axes.axhline(edge, color=colour, linestyle=line, linewidth=1, label=name)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
            drawn = [_positive(means[matrix][step]) for step in chosen]
            axes.set_ylim(bottom=0.7 * min((s.min() for s in drawn if len(s)), default=1))
            axes.set(title=MATRICES[matrix], xlabel="index i", ylabel="singular value s")
        finish_figure(figure, sizes, twins_note(kinds))
    return attach_run_ids(figure, frames.runs["run_id"])


def _positive(s: pd.Series) -> pd.Series:
    """The values that a logarithmic axis can show: those above the rounding of the largest."""
    return s[s > s.max() * 1e-7] if len(s) else s


def _floored(s: pd.Series) -> pd.Series:
    """The values, with those below their rounding error raised to it: a logarithmic axis shows all."""
    return s.clip(lower=max(s.max() * 1e-7, 1e-30)) if len(s) else s
