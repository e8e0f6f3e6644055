"""Scores over prompt length: the paper's Figures 6 and 11, and 7 and 12 with short prompts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import (
    Score,
    curve_points,
    drop_single_points,
    drop_unmatched,
    name_curves,
    scored_runs,
)
from rankprobe.plots.legend import finish_figure, seeds_note
from rankprobe.plots.marks import draw_baselines, draw_dots, each_curve, score_label
from rankprobe.plots.panels import panel_blocks
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.scores import PAPER_LENGTH, panel_title, require_runs, runs_by_panel, score_figure
from rankprobe.plots.style import style
from rankprobe.runs import Frames

XLABEL = "prompt length n (tokens)"

SHORT_LENGTHS, SHORT_BOTTLENECK = (6, 10), 2
"""n and b of the paper's Figure 7."""

DODGE_WIDTH = 0.6
"""Width over which the dots of one prompt length are spread; neighbouring lengths are 1 apart."""


def fig6(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Score over prompt length: a curve per method, a panel per task, a block of rows per model.

    Source: Xiao et al. (2023), Figure 6 (and 11). Fine-tuning has no prompt and is a horizontal line.

    Raises:
        RankprobeError: no finished run with a prompt.
    """
    runs = scored_runs(frames, score)
    runs = runs.assign(prompt_length=runs["prompt_length"].astype(float).replace(0, np.nan))
    needs, command = "finished runs with a prompt", "rankprobe sweep experiments/fig6_prompt_length.toml"
    require_runs(runs[runs["prompt_length"].notna()], "fig6", needs, command)
    runs = drop_unmatched(drop_single_points(frames, runs, "prompt_length"), "prompt_length", "shots")
    runs = name_curves(frames, runs, "prompt_length")
    return score_figure(runs, "prompt_length", XLABEL, PAPER_LENGTH, score, look)


def fig7(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Scores of short prompts, n = 6 and 10, with methods side by side: a panel per task and model.

    Source: Xiao et al. (2023), Figure 7 (and 12). DPT has b = 2. Only tasks with such a run of DPT are drawn.
    The probe is left out, because it is a method for measuring.

    Raises:
        RankprobeError: no finished run of dpt with b = 2 and n = 6 or 10.
    """
    runs = scored_runs(frames, score)
    runs = runs[runs["prompt_length"].isin(SHORT_LENGTHS) & (runs["method"] != "probe")]
    runs = runs[(runs["method"] != "dpt") | (runs["bottleneck"] == SHORT_BOTTLENECK)]
    needs = f"finished runs of dpt with b = {SHORT_BOTTLENECK} and n = 6 or 10"
    command = "rankprobe sweep experiments/fig7_short_prompts.toml"
    require_runs(runs[runs["method"] == "dpt"], "fig7", needs, command)
    runs = drop_unmatched(drop_single_points(frames, runs, "prompt_length"), "bottleneck", "shots")
    runs = name_curves(frames, runs, "prompt_length")
    points = []
    with style(look) as sizes:
        rows = runs_by_panel(runs)
        figure, blocks = panel_blocks([len(row) for row in rows], sizes)
        for block, row in zip(blocks, rows, strict=True):
            for axes, part in zip(block, row, strict=True):
                points.append(_draw_side_by_side(axes, part))
                axes.set(title=panel_title(part), ylabel=score_label(part["metric"], score))
        finish_figure(figure, sizes, seeds_note(points, "bar"), methods=runs["method"].cat.categories)
    return attach_run_ids(figure, runs["run_id"])


def _draw_side_by_side(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """Draw a dot with a bar for each n and curve; return the points."""
    points = curve_points(runs, "prompt_length")
    curves = list(each_curve(points))
    for i, (line, part) in enumerate(curves):
        offset = DODGE_WIDTH * ((i + 0.5) / len(curves) - 0.5)
        draw_dots(axes, [SHORT_LENGTHS.index(n) + offset for n in part["x"]], part, **line)
    draw_baselines(axes, runs["baseline"].dropna())
    axes.set_xticks(range(len(SHORT_LENGTHS)), [str(n) for n in SHORT_LENGTHS])
    axes.set_xlim(-0.5, len(SHORT_LENGTHS) - 0.5)
    axes.set_xlabel(XLABEL)
    return points
