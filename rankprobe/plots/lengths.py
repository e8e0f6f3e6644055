"""Scores over prompt length: the paper's Figures 6 and 11, and 7 and 12 for short prompts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import Score, beside, longest, named, points, scored
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import dots, lines, majority, score_label
from rankprobe.plots.panels import blocks
from rankprobe.plots.scores import PAPER_LENGTH, each_panel, or_error, scores_over, title
from rankprobe.plots.style import style
from rankprobe.runs import Frames

LABEL = "prompt length n (tokens)"

SHORT, SHORT_BOTTLENECK = (6, 10), 2
"""n and b of the paper's Figure 7."""

ROOM = 0.6
"""What the dots of one prompt length take up, where lengths are 1 apart."""


def fig6(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Score over prompt length, a curve per method, a panel per task, rows of panels per model.

    Source: Xiao et al. (2023), Figure 6 (and 11). Fine-tuning, which has no prompt, is a horizontal line.

    Raises:
        RankprobeError: no finished run with a prompt.
    """
    runs = scored(frames, score)
    runs = runs.assign(prompt_length=runs["prompt_length"].astype(float).replace(0, np.nan))
    needs, command = "finished runs with a prompt", "rankprobe sweep experiments/fig6_prompt_length.toml"
    or_error(runs[runs["prompt_length"].notna()], "fig6", needs, command)
    runs = beside(longest(frames, runs, "prompt_length"), "prompt_length", "shots")
    runs = named(frames, runs, "prompt_length")
    return scores_over(runs, "prompt_length", LABEL, PAPER_LENGTH, score, look)


def fig7(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Scores of very short prompts, n = 6 and 10, methods side by side, a panel per task and model.

    Source: Xiao et al. (2023), Figure 7 (and 12): DPT has b = 2. Tasks are those that have it. The probe,
    which is for measuring, is left out.

    Raises:
        RankprobeError: no finished run of dpt with b = 2 and n = 6 or 10.
    """
    runs = scored(frames, score)
    runs = runs[runs["prompt_length"].isin(SHORT) & (runs["method"] != "probe")]
    runs = runs[(runs["method"] != "dpt") | (runs["bottleneck"] == SHORT_BOTTLENECK)]
    needs = f"finished runs of dpt with b = {SHORT_BOTTLENECK} and n = 6 or 10"
    command = "rankprobe sweep experiments/fig7_short_prompts.toml"
    or_error(runs[runs["method"] == "dpt"], "fig7", needs, command)
    runs = beside(longest(frames, runs, "prompt_length"), "bottleneck", "shots")
    runs = named(frames, runs, "prompt_length")
    drawn = []
    with style(look) as page:
        found = each_panel(runs)
        figure, grid = blocks([len(row) for row in found], page)
        for row, parts in zip(grid, found, strict=True):
            for axes, part in zip(row, parts, strict=True):
                drawn.append(_side_by_side(axes, part))
                axes.set(title=title(part), ylabel=score_label(part["metric"], score))
        finish(figure, page, seeds(drawn, "bar"))
    return signed(figure, runs["run_id"])


def _side_by_side(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """For each n a dot per curve, with its bar; the points drawn."""
    found = points(runs, "prompt_length")
    curves = list(lines(found))
    for i, (line, part) in enumerate(curves):
        aside = ROOM * ((i + 0.5) / len(curves) - 0.5)
        at = [SHORT.index(n) + aside for n in part["x"]]
        dots(axes, at, part, **line)
    majority(axes, runs["majority"].dropna())
    axes.set_xticks(range(len(SHORT)), [str(n) for n in SHORT])
    axes.set_xlim(-0.5, len(SHORT) - 0.5)
    axes.set_xlabel(LABEL)
    return found
