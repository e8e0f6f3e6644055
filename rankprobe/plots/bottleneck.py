"""Scores over the bottleneck of DPT: the paper's Figures 5 and 10, and 8, 13 and 14."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import (
    PANEL_COLUMNS,
    Score,
    curve_points,
    drop_single_points,
    drop_unmatched,
    name_curves,
    scored_runs,
)
from rankprobe.plots.legend import finish_figure, seeds_note
from rankprobe.plots.marks import draw_baselines, each_curve, log_axis, score_label, short_count
from rankprobe.plots.panels import grow_rows, panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.scores import PAPER_BOTTLENECK, panel_title, require_runs, runs_by_panel, score_figure
from rankprobe.plots.style import style
from rankprobe.runs import Frames

XLABEL = "bottleneck b"

STATISTICS = {"mean": ("average", "D"), "max": ("greatest", "^"), "min": ("least", "v")}
"""Label and marker of each statistic over seeds in fig8."""

CROWDED = 0.2
"""If two ticks are closer than this share of the length of the axis, tick labels are vertical."""

VERTICAL_LABEL_HEIGHT = 0.6
"""Height of vertical labels, added to each row of panels, in inches."""


def fig5(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Score over the bottleneck of DPT: a panel per task, a block of rows per model.

    Source: Xiao et al. (2023), Figure 5 (and 10). Methods without a bottleneck are horizontal lines, from
    runs with the same prompt length and number of training rows. The probe is left out, because it is a
    method for measuring.

    Raises:
        RankprobeError: no finished run of dpt.
    """
    runs = scored_runs(frames, score)
    command = "rankprobe sweep experiments/fig5_bottleneck.toml"
    require_runs(runs[runs["method"] == "dpt"], "fig5", "finished runs of dpt", command)
    runs = drop_single_points(frames, runs[runs["method"] != "probe"], "bottleneck")
    runs = drop_unmatched(runs, "bottleneck", "prompt_length", "shots")
    runs = name_curves(frames, runs, "bottleneck")
    return score_figure(runs, "bottleneck", XLABEL, PAPER_BOTTLENECK, score, look)


def fig8(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Mean, minimum and maximum score of DPT at large bottlenecks, with the numbers of trained parameters.

    Source: Xiao et al. (2023), Figure 8 (and 13, 14). Statistics are over seeds. A panel per task and
    model that has a run with b above the prompt length; b starts at 10, the paper's value.

    Raises:
        RankprobeError: no finished run of dpt with a bottleneck above its prompt length.
    """
    runs = scored_runs(frames, score)
    runs = runs[(runs["method"] == "dpt") & (runs["bottleneck"] >= PAPER_BOTTLENECK)]
    is_large = (runs["bottleneck"] > runs["prompt_length"]).groupby([runs[name] for name in PANEL_COLUMNS])
    runs = runs[is_large.transform("any")]
    needs = "finished runs of dpt with a bottleneck b above the prompt length n"
    require_runs(runs, "fig8", needs, "rankprobe sweep experiments/fig8_large_bottlenecks.toml")
    runs = name_curves(frames, drop_single_points(frames, runs, "bottleneck"), "bottleneck")
    parts = [part for row in runs_by_panel(runs) for part in row]
    points = []
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        for axes, part in zip(all_axes, parts, strict=True):
            points.append(_draw_statistics(axes, part))
            axes.set(title=panel_title(part), ylabel=score_label(part["metric"], score))
        finish_figure(figure, sizes, seeds_note(points, "marks"), methods=runs["method"].cat.categories)
        if any(label.get_rotation() for axes in all_axes for label in axes.get_xticklabels()):
            grow_rows(figure, all_axes, VERTICAL_LABEL_HEIGHT)
    return attach_run_ids(figure, runs["run_id"])


def _draw_statistics(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """Draw three marks at each b, with a line through the means; return the points."""
    points = curve_points(runs, "bottleneck")
    for line, part in each_curve(points):
        for column, (label, marker) in STATISTICS.items():
            mark: dict[str, Any] = {"marker": marker, "label": f"{line['label']}, {label}"}
            if column != "mean":
                mark |= {"linestyle": "none", "markerfacecolor": "white"}
            axes.plot(part["x"], part[column], **line | mark)
    draw_baselines(axes, runs["baseline"].dropna())
    trained = runs.groupby("bottleneck")["trainable_parameters"].first()
    log_axis(axes.xaxis, trained.index)
    ticks = axes.get_xticks()
    places = np.log10(np.asarray(ticks))
    crowded = len(places) > 1 and np.diff(places).min() < CROWDED * (places[-1] - places[0])
    separator, rotation = (": ", 90) if crowded else ("\n", 0)
    axes.set_xticks(ticks, [f"{b:,g}{separator}{short_count(trained[b])}" for b in ticks], rotation=rotation)
    axes.set_xlabel("bottleneck b, and trained parameters")
    return points
