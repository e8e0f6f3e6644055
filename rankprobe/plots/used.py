"""The rank used, by method and by prompt length, as `rankprobe truncate` measured it. Not in the paper."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import (
    CUT_COLUMNS,
    LEFT_OUT_K,
    PANEL_COLUMNS,
    all_seed_points,
    curve_points,
    drop_single_points,
    finished_runs,
    name_curves,
    without_controls,
)
from rankprobe.plots.legend import finish_figure, seeds_note
from rankprobe.plots.marks import (
    FUNCTIONAL_RANK_LABEL,
    RING,
    draw_baselines,
    draw_curve,
    each_curve,
    log_axis,
)
from rankprobe.plots.panels import panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.scores import panel_title, require_runs, runs_by_panel
from rankprobe.plots.style import style
from rankprobe.plots.truncation import label_k_axis, learned_count
from rankprobe.runs import Frames

CURVE_VALUES = ["run_id", "matrix", "kept", "metric", "k", "value", "baseline", *CUT_COLUMNS]
"""Columns of `Frames.truncation` that the figure `used` needs."""

RANK_OF = ["functional_rank_order", "functional_rank_prompt"]
"""Columns of `Frames.runs`: the order of the directions of the functional rank, and the truncated prompt."""

RANK_TICKS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def used(frames: Frames, *, look: str = "screen") -> Figure:
    """Score of the prompt with only the k largest singular directions of P, over k: a curve per method.

    A panel per task and model. A curve is the mean over seeds at those k that all its seeds have. A ring
    marks the mean functional rank: the least k from which on 95 % of the gain over the baseline is kept. A
    run whose score does not exceed the baseline did not learn and has no functional rank. A mean over runs
    that learned and runs that did not would describe neither, so a curve is of those that learned, unless
    none did. If some did not, the title gives the number that did, with its 95 % interval. A run whose best
    prompt was truncated too is drawn with its final one.

    Raises:
        RankprobeError: `rankprobe truncate` has not been run on a finished run.
    """
    runs = without_controls(finished_runs(frames))
    curves = frames.truncation.reindex(columns=CURVE_VALUES)
    is_best = curves["prompt"] == "best"
    curves = curves[~is_best | ~curves["run_id"].isin(curves.loc[~is_best, "run_id"])]
    needs = "finished runs with truncation curves"
    require_runs(runs[runs["run_id"].isin(curves["run_id"])], "used", needs, "rankprobe truncate RUN")
    curves = curves[(curves["matrix"] == "P") & (curves["kept"] == "top")].astype({"run_id": str})
    runs = runs.drop(columns=["baseline", "value", *CUT_COLUMNS], errors="ignore")
    rows = runs.merge(curves, on=["run_id", "metric"])
    # The truncated prompt and the scored rows distinguish curves as settings do.
    rows = name_curves(dataclasses.replace(frames, settings=[*frames.settings, *CUT_COLUMNS]), rows)
    parts = [part for row in runs_by_panel(rows) for part in row]
    points, left_out = [], False
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        for axes, part in zip(all_axes, parts, strict=True):
            panel_points = _draw_curves(axes, _of_one_outcome(part))
            points.append(all_seed_points(panel_points))
            left_out |= len(points[-1]) < len(panel_points)
            split = ", ".join(sorted(set(part["split"].map(str))))
            each_run = _one_row_per_run(part)
            learned = each_run["functional_rank"].notna()
            axes.set_title(panel_title(part) + _learned_line(each_run["curve"], learned))
            axes.set_ylabel(f"{split} {part['metric'].iloc[0]} (%)")
        note = seeds_note(points) + (f"; {LEFT_OUT_K}" if left_out else "")
        finish_figure(figure, sizes, note, methods=rows["method"].cat.categories)
    return attach_run_ids(figure, rows["run_id"])


def _draw_curves(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    """Draw the curves of a panel with their rings; return all points, including those not drawn."""
    points = curve_points(rows, "k", "value")
    ranks = curve_points(_one_row_per_run(rows), None, "functional_rank").set_index("curve")["mean"]
    for line, part in each_curve(all_seed_points(points)):
        draw_curve(axes, part, **line | {"markersize": 2.5})
        k = ranks.get(line["label"], np.nan)
        if not np.isnan(k):
            ring: dict[str, Any] = line | RING | {"label": FUNCTIONAL_RANK_LABEL}
            axes.plot(k, np.interp(k, part["x"], part["mean"]), **ring)
    draw_baselines(axes, rows["baseline"])
    label_k_axis(axes, rows)
    return points


def _of_one_outcome(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the runs that learned; of a curve without such a run, all rows."""
    learned = _one_row_per_run(rows).set_index("run_id")["functional_rank"].notna()
    has_learned = rows["run_id"].map(learned).astype(bool)
    return rows[has_learned | ~has_learned.groupby(rows["curve"]).transform("any")]


def _one_row_per_run(rows: pd.DataFrame) -> pd.DataFrame:
    """The first row of each run, with its functional rank as a float; `rows` has a row per run and k."""
    runs = rows.drop_duplicates("run_id")
    columns = list(dict.fromkeys([*runs, "functional_rank"]))
    return runs.reindex(columns=columns).astype({"functional_rank": float})


def _learned_line(names: pd.Series, learned: pd.Series) -> str:
    """A line for a title with the number of runs that learned, by name; only names with a run that did not.

    Args:
        names: the curve or the method of each run.
        learned: whether the run learned.
    """
    parts = []
    for name, own in learned.groupby(names, observed=True, sort=False):
        if not own.all():
            parts.append(f"{name}: {learned_count(own)}")
    return f"\nlearned: {'; '.join(parts)}" if parts else ""


def length(frames: Frames, *, look: str = "screen") -> Figure:
    """Functional rank over prompt length: a curve per method, a panel per task and model.

    The thin line is the maximum, rank = n. Runs whose score does not exceed the baseline did not learn: they
    have no functional rank and are left out. The title gives the number of those that learned, by method,
    with its 95 % interval, if some did not.

    Raises:
        RankprobeError: no finished run has a functional rank.
    """
    runs = without_controls(finished_runs(frames))
    runs = runs.reindex(columns=list(dict.fromkeys([*runs, "functional_rank", *RANK_OF])))
    truncated_ids = frames.truncation.reindex(columns=["run_id"])["run_id"].astype(str)
    undefined = runs[runs["functional_rank"].isna() & runs["run_id"].isin(truncated_ids)]
    runs = runs[runs["functional_rank"].notna()]
    require_runs(runs, "length", "finished runs with a functional rank", "rankprobe truncate RUN")
    # Ranks by singular value and by sensitivity are different curves, and so are those of two prompts.
    frames = dataclasses.replace(frames, settings=[*frames.settings, *RANK_OF])
    runs = name_curves(frames, drop_single_points(frames, runs, "prompt_length"), "prompt_length")
    parts = [part for row in runs_by_panel(runs) for part in row]
    points, n_in_titles = [], 0
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        for axes, part in zip(all_axes, parts, strict=True):
            points.append(_draw_over_length(axes, part))
            without = undefined[(undefined[PANEL_COLUMNS] == part[PANEL_COLUMNS].iloc[0]).all(axis=1)]
            tried = pd.concat([part, without])
            axes.set_title(
                panel_title(part) + _learned_line(tried["method"], tried["functional_rank"].notna())
            )
            n_in_titles += len(without)
        others = len(undefined) - n_in_titles
        note = f"; {others} runs on other data or weights did not learn" if others else ""
        methods = runs["method"].cat.categories
        finish_figure(figure, sizes, seeds_note(points, "bar") + note, methods=methods)
    return attach_run_ids(figure, runs["run_id"])


def _draw_over_length(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """Draw the curves of a panel and the line rank = n; return the points."""
    points = curve_points(runs, "prompt_length", "functional_rank")
    for line, part in each_curve(points):
        axes.vlines(part["x"], part["min"], part["max"], color=line["color"], linewidth=1)
        axes.plot(part["x"], part["mean"], **line)
    lengths = sorted(set(runs["prompt_length"]))
    axes.plot(lengths, lengths, color="#777777", linewidth=0.7, label="rank = n")
    log_axis(axes.xaxis, lengths)
    ticks = [rank for rank in RANK_TICKS if rank <= lengths[-1]]
    log_axis(axes.yaxis, ticks, linthresh=1, linscale=0.4)
    axes.set_ylim(bottom=-0.1)
    axes.set(xlabel="prompt length n (tokens)", ylabel="functional rank of P (directions)")
    return points
