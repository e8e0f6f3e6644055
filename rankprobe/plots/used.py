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
from rankprobe.plots.truncation import label_k_axis
from rankprobe.runs import Frames

CURVE_VALUES = ["run_id", "matrix", "kept", "metric", "k", "value", "baseline", *CUT_COLUMNS]
"""Columns of `Frames.truncation` that the figure `used` needs."""

RANK_TICKS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def used(frames: Frames, *, look: str = "screen") -> Figure:
    """Score of the prompt with only the k largest singular directions of P, over k: a curve per method.

    A panel per task and model. A curve is the mean over seeds at those k that all its seeds have. A ring
    marks the mean functional rank: the least k from which on 95 % of the gain over the baseline is kept. A
    run whose score does not exceed the baseline has no functional rank; the title gives the number of them.

    Raises:
        RankprobeError: `rankprobe truncate` has not been run on a finished run.
    """
    runs = without_controls(finished_runs(frames))
    curves = frames.truncation.reindex(columns=CURVE_VALUES)
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
            panel_points = _draw_curves(axes, part)
            points.append(all_seed_points(panel_points))
            left_out |= len(points[-1]) < len(panel_points)
            split = ", ".join(sorted(set(part["split"].map(str))))
            ranks = _one_row_per_run(part)["functional_rank"]
            axes.set_title(panel_title(part) + _undefined_line(int(ranks.isna().sum()), len(ranks)))
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
    label_k_axis(axes, rows["k"].max())
    return points


def _one_row_per_run(rows: pd.DataFrame) -> pd.DataFrame:
    """The first row of each run, with its functional rank as a float; `rows` has a row per run and k."""
    runs = rows.drop_duplicates("run_id")
    columns = list(dict.fromkeys([*runs, "functional_rank"]))
    return runs.reindex(columns=columns).astype({"functional_rank": float})


def _undefined_line(count: int, n_runs: int) -> str:
    """A line for a title with the number of runs without a functional rank; empty if all have one."""
    return f"\nno functional rank: {count} of {n_runs} runs" if count else ""


def length(frames: Frames, *, look: str = "screen") -> Figure:
    """Functional rank over prompt length: a curve per method, a panel per task and model.

    The thin line is the maximum, rank = n. Runs whose score does not exceed the baseline have no functional
    rank and are left out; the title gives the number of them.

    Raises:
        RankprobeError: no finished run has a functional rank.
    """
    runs = without_controls(finished_runs(frames))
    runs = runs.reindex(columns=list(dict.fromkeys([*runs, "functional_rank"])))
    truncated_ids = frames.truncation.reindex(columns=["run_id"])["run_id"].astype(str)
    undefined = runs[runs["functional_rank"].isna() & runs["run_id"].isin(truncated_ids)]
    runs = runs[runs["functional_rank"].notna()]
    require_runs(runs, "length", "finished runs with a functional rank", "rankprobe truncate RUN")
    runs = name_curves(frames, drop_single_points(frames, runs, "prompt_length"), "prompt_length")
    parts = [part for row in runs_by_panel(runs) for part in row]
    points, n_in_titles = [], 0
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        for axes, part in zip(all_axes, parts, strict=True):
            points.append(_draw_over_length(axes, part))
            count = int((undefined[PANEL_COLUMNS] == part[PANEL_COLUMNS].iloc[0]).all(axis=1).sum())
            axes.set_title(panel_title(part) + _undefined_line(count, len(part) + count))
            n_in_titles += count
        others = len(undefined) - n_in_titles
        note = f"; {others} runs on other data or weights have no functional rank" if others else ""
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
