"""Panels of scores over one setting, shared by the figures that have them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.bundled.paper import paper_scores
from rankprobe.errors import RankprobeError
from rankprobe.plots.curves import PANEL, points
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import (
    PAPER,
    PAPER_LINE,
    STAR,
    curve,
    level,
    lines,
    log_axis,
    majority,
    score_label,
)
from rankprobe.plots.panels import blocks
from rankprobe.plots.style import METHODS, style

PAPER_LENGTH, PAPER_BOTTLENECK = 100, 10
"""n and b of the paper's Table 1."""


def scores_over(runs: pd.DataFrame, x: str, xlabel: str, paper_at: float, score: str, look: str) -> Figure:
    """Score over `x`, a panel per task, rows of panels per model, and the paper's Table 1 at `paper_at`."""
    drawn = []
    with style(look) as page:
        found = each_panel(runs)
        figure, grid = blocks([len(row) for row in found], page)
        for row, parts in zip(grid, found, strict=True):
            for axes, part in zip(row, parts, strict=True):
                drawn += score_panel(axes, part, x, score)
                log_axis(axes.xaxis, axes.set_xscale, part[x].dropna())
                axes.set_xlabel(xlabel)
                _paper(axes, part, x, paper_at)
        finish(figure, page, seeds(drawn))
    return signed(figure, runs["run_id"])


def each_panel(runs: pd.DataFrame) -> list[list[pd.DataFrame]]:
    """The runs of each panel, by model: a list of panels per model, tasks in the same order everywhere."""
    return [
        [part for _, part in own.groupby("data_label", sort=True)]
        for _, own in runs.groupby("model_label", sort=False)
    ]


def score_panel(axes: Axes, runs: pd.DataFrame, x: str, score: str) -> list[pd.DataFrame]:
    """Curves over `x`, a horizontal line for what has no `x`, and the majority rate; the points drawn."""
    has_x = runs[x].notna()
    along, across = points(runs[has_x], x), points(runs[~has_x])
    curves_over(axes, along)
    for line, part in lines(across):
        level(axes, part.iloc[0], **line)
    majority(axes, runs["majority"].dropna())
    axes.set(title=title(runs), ylabel=score_label(runs["metric"], score))
    return [along, across]


def curves_over(axes: Axes, found: pd.DataFrame) -> None:
    """A line per curve of `points`."""
    for line, part in lines(found):
        curve(axes, part, **line)


def title(runs: pd.DataFrame) -> str:
    """Data, then weights."""
    first = runs.iloc[0]
    return "\n".join(str(first[name]) for name in reversed(PANEL))


def paper_values(runs: pd.DataFrame) -> Mapping[str, float]:
    """The paper's Table 1 for the methods of these runs of one panel, where they compare with it.

    They do where model and data are the paper's, with all training rows, n = 100 and b = 10.
    """
    n, b = runs["prompt_length"], runs["bottleneck"]
    own = runs[
        runs["paper"].notna()
        & runs["shots"].isna()
        & (n.isin([PAPER_LENGTH, 0]) | n.isna())
        & ((b == PAPER_BOTTLENECK) | b.isna())
    ]
    table = paper_scores()
    table = table[(table["table"] == "table1") & table["task"].isin(own["task"])]
    table = table[table["model"].isin(own["paper"]) & table["method"].isin(own["method"])]
    return {str(method): float(value) for method, value in zip(table["method"], table["value"], strict=True)}


def star(axes: Axes, method: str, x: float, y: float) -> None:
    """The paper's value, open, in the method's colour."""
    axes.plot(x, y, color=METHODS[method]["color"], label=PAPER, zorder=4, **STAR)


def _paper(axes: Axes, runs: pd.DataFrame, x: str, at: float) -> None:
    """The paper's Table 1: a star where its `x` is drawn, a thin dashed line for a method without `x`."""
    for method, value in paper_values(runs).items():
        own = runs.loc[runs["method"] == method, x]
        if own.isna().all():
            axes.axhline(value, color=METHODS[method]["color"], label=PAPER, **PAPER_LINE)
        else:
            star(axes, method, at, value)


def or_error(runs: pd.DataFrame, figure: str, needs: str, command: str) -> pd.DataFrame:
    """`runs`, if there are any.

    Raises:
        RankprobeError: there are none; says what `figure` needs, and a command that makes it.
    """
    if runs.empty:
        raise RankprobeError(f"{figure} needs {needs}, and there are none; make some: {command}")
    return runs
