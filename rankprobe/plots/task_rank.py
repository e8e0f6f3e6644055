"""The rank that a task needs: scores of cut, healed and restarted prompts of rank k. Not in the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.plots.legend import finish_figure
from rankprobe.plots.marks import BAND_OPACITY, FUNCTIONAL_RANK_LABEL, RING, draw_baselines, log_axis
from rankprobe.plots.panels import panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.style import style
from rankprobe.runs import Frames, Run
from rankprobe.runs.task_rank import TaskRankFile, read_task_rank

CURVES = {
    "cut": ("vanilla, cut to k", "#0b3c6f", "o", "-"),
    "healed": ("cut and healed", "#c2571a", "s", "-"),
    "scratch": ("DPT(k) from scratch", "#2a7f62", "^", "--"),
}
"""Label, colour, marker and line of each kind of prompt."""

K_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)

LEVEL: dict[str, Any] = {"color": "#555555", "linestyle": (0, (5, 2)), "linewidth": 0.9}
NEEDED: dict[str, Any] = {"color": "#8b6bb1", "linestyle": "-", "linewidth": 1.4}

NOTE = (
    "curves: the try that is best on the selection half, mean over seeds, band: least to greatest; dots: all "
    "tries; scores are of the other half"
)


def taskrank(frames: Frames, *, look: str = "screen") -> Figure:
    """Score over rank k of cut, healed and restarted prompts: a panel per outcome of `rankprobe taskrank`.

    For each seed, a curve takes the try of its kind that scores best on the selection half of dev; it is the
    mean over seeds of the score on the other half, with a band from minimum to maximum. Small dots are all
    tries. The curve of cut prompts is the truncation curve of the vanilla runs where they have one.

    The dashed line is the level, 95 % of vanilla's gain over the baseline (dotted). The vertical line is the
    needed rank: the least k that is certified (an upper bound of what the task needs). The ring is the mean
    functional rank of the vanilla prompts.

    Raises:
        RankprobeError: no run has an outcome.
    """
    outcomes = [
        (run_id, found)
        for run_id, path in frames.runs.reindex(columns=["run_id", "path"]).itertuples(index=False)
        if isinstance(path, str) and (found := read_task_rank(Run(Path(path)))) is not None
    ]
    if not outcomes:
        raise RankprobeError("no needed ranks to draw; find one first: rankprobe taskrank --task TASK")
    run_ids = [run_id for run_id, _ in outcomes]
    with style(look) as sizes:
        figure, all_axes = panels(len(outcomes), sizes)
        for axes, (_, outcome) in zip(all_axes, outcomes, strict=True):
            _draw_panel(axes, outcome, _cut_curves(frames, outcome))
            run_ids += [row.run_id for row in outcome.functional]
            run_ids += [row.run_id for row in outcome.tries if row.run_id is not None]
        finish_figure(figure, sizes, NOTE)
    return attach_run_ids(figure, run_ids)


def _cut_curves(frames: Frames, outcome: TaskRankFile) -> pd.DataFrame:
    """The truncation curves of the final P of the vanilla runs on the report half: `k`, `seed`, `report`."""
    seeds = {row.run_id: row.seed for row in outcome.functional}
    rows = frames.truncation
    if rows.empty:
        return pd.DataFrame(columns=["k", "seed", "report"])
    rows = rows.assign(seed=rows["run_id"].astype(str).map(seeds))
    rows = rows[rows.reindex(columns=["prompt"])["prompt"] != "best"]
    is_curve = (rows["matrix"] == "P") & (rows["kept"] == "top") & (rows["metric"] == outcome.metric)
    rows = rows[is_curve & (rows["split"] == "report") & (rows["k"] > 0) & rows["seed"].notna()]
    return rows.rename(columns={"value": "report"})[["k", "seed", "report"]]


def _draw_panel(axes: Axes, outcome: TaskRankFile, cut: pd.DataFrame) -> None:
    tries = pd.DataFrame([row.model_dump() for row in outcome.tries])
    columns = ["k", "kind", "seed", "selection", "report"]
    tries = tries.reindex(columns=columns).dropna(subset=["selection", "report"])
    for kind, (label, colour, marker, line) in CURVES.items():
        own = tries[tries["kind"] == kind]
        best = own.loc[own.groupby(["k", "seed"])["selection"].idxmax()] if len(own) else own
        best = cut if kind == "cut" and len(cut) else best
        points = best.astype({"report": float}).groupby("k")["report"].agg(["mean", "min", "max", "count"])
        points = points[points["count"] == points["count"].max()]
        mark = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.3}
        axes.plot(points.index, points["mean"], linestyle=line, label=label, **mark)
        band = {"color": colour, "alpha": BAND_OPACITY, "linewidth": 0}
        axes.fill_between(points.index.to_numpy(float), points["min"], points["max"], **band)
        if kind != "cut":
            axes.plot(own["k"], own["report"], ".", color=colour, markersize=3, alpha=0.45)
        ranks = [row.functional_rank for row in outcome.functional if row.functional_rank is not None]
        if kind == "cut" and ranks and len(points):
            k = float(np.mean(ranks))
            height = np.interp(k, points.index.to_numpy(float), points["mean"])
            axes.plot(k, height, color=colour, label=FUNCTIONAL_RANK_LABEL, **RING)
    level = outcome.baseline + outcome.share * (outcome.vanilla - outcome.baseline)
    axes.axhline(level, label=f"{outcome.share:.0%} of vanilla's gain", **LEVEL)
    draw_baselines(axes, [outcome.baseline])
    axes.axvline(outcome.needed_rank, label="needed rank, upper bound", zorder=1.5, **NEEDED)
    log_axis(axes.xaxis, [k for k in K_TICKS if k <= outcome.max_k])
    seeds = f"{len(outcome.seeds)} seed{'s' * (len(outcome.seeds) != 1)}"
    rows = f"certified on {outcome.n_rows} rows, {seeds}"
    axes.set_title(f"{outcome.data}, {outcome.model}\nneeded rank at most {outcome.needed_rank}, {rows}")
    axes.set_xlabel("rank k")
    axes.set_ylabel(f"held-back {outcome.metric.replace('_', ' ')} (%)")
