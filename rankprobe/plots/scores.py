"""Panels of scores over one setting, shared by several figures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.paper import METHODS as PAPER_METHODS
from rankprobe.paper import paper_scores
from rankprobe.plots.curves import PANEL_COLUMNS, curve_points
from rankprobe.plots.legend import finish_figure, seeds_note
from rankprobe.plots.marks import (
    PAPER_LABEL,
    PAPER_LINE,
    STAR,
    draw_baselines,
    draw_curve,
    draw_level,
    each_curve,
    log_axis,
    score_label,
)
from rankprobe.plots.panels import panel_blocks
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.style import method_style, style

PAPER_LENGTH, PAPER_BOTTLENECK = 100, 10
"""n and b of the paper's Table 1."""


def require_runs(runs: pd.DataFrame, figure: str, needs: str, command: str) -> pd.DataFrame:
    """Return `runs`, or raise an error if it is empty.

    Args:
        runs: the runs that a figure can draw.
        figure: the name of the figure.
        needs: the kind of runs that the figure needs.
        command: a command that makes such runs.

    Raises:
        RankprobeError: `runs` is empty.
    """
    if runs.empty:
        raise RankprobeError(f"{figure} needs {needs}, and there are none; make some: {command}")
    return runs


def runs_by_panel(runs: pd.DataFrame) -> list[list[pd.DataFrame]]:
    """Split runs into panels: a list per model, with the runs of each data set, sorted by data label."""
    return [
        [part for _, part in model_runs.groupby("data_label", sort=True)]
        for _, model_runs in runs.groupby("model_label", sort=False)
    ]


def panel_title(runs: pd.DataFrame) -> str:
    """The data label, and the model label on the next line."""
    first = runs.iloc[0]
    return "\n".join(str(first[name]) for name in reversed(PANEL_COLUMNS))


def score_figure(runs: pd.DataFrame, x: str, xlabel: str, paper_x: float, score: str, look: str) -> Figure:
    """Draw scores over a setting: a panel per task, a block of rows per model.

    Args:
        runs: rows that `name_curves` returns. Runs without `x` are horizontal lines.
        x: the setting on the x axis.
        xlabel: label of the x axis.
        paper_x: x of the runs in the paper's Table 1, whose scores are drawn as stars.
        score: `last` or `best`.
        look: `screen` or `paper`.
    """
    points = []
    with style(look) as sizes:
        rows = runs_by_panel(runs)
        figure, blocks = panel_blocks([len(row) for row in rows], sizes)
        for block, row in zip(blocks, rows, strict=True):
            for axes, part in zip(block, row, strict=True):
                points += draw_score_panel(axes, part, x, score)
                log_axis(axes.xaxis, part[x].dropna())
                axes.set_xlabel(xlabel)
                _draw_paper_values(axes, part, x, paper_x)
        finish_figure(figure, sizes, seeds_note(points), methods=runs["method"].cat.categories)
    return attach_run_ids(figure, runs["run_id"])


def draw_score_panel(axes: Axes, runs: pd.DataFrame, x: str, score: str) -> list[pd.DataFrame]:
    """Draw curves over `x`, horizontal lines for runs without `x`, and the baseline; return the points."""
    has_x = runs[x].notna()
    along, across = curve_points(runs[has_x], x), curve_points(runs[~has_x])
    draw_curves(axes, along)
    for line, part in each_curve(across):
        draw_level(axes, part.iloc[0], **line)
    draw_baselines(axes, runs["baseline"].dropna())
    axes.set(title=panel_title(runs), ylabel=score_label(runs["metric"], score))
    return [along, across]


def draw_curves(axes: Axes, points: pd.DataFrame) -> None:
    """Draw each curve of points that `curve_points` returned."""
    for line, part in each_curve(points):
        draw_curve(axes, part, **line)


def paper_values(runs: pd.DataFrame) -> Mapping[str, float]:
    """The scores of the paper's Table 1 that are comparable with runs of one panel, by method.

    A run is comparable if it has the paper's model and data, all training rows, n = 100 and b = 10.
    """
    n, b = runs["prompt_length"], runs["bottleneck"]
    comparable = runs[
        runs["paper"].notna()
        & runs["shots"].isna()
        & (n.isin([PAPER_LENGTH, 0]) | n.isna())
        & ((b == PAPER_BOTTLENECK) | b.isna())
    ]
    table = paper_scores()
    table = table[(table["table"] == "table1") & table["task"].isin(comparable["task"])]
    table = table[table["model"].isin(comparable["paper"]) & table["method"].isin(comparable["method"])]
    return {str(method): float(value) for method, value in zip(table["method"], table["value"], strict=True)}


def draw_paper_star(axes: Axes, method: str, x: float, y: float) -> None:
    """Draw a score of the paper as an open star in the method's colour."""
    axes.plot(x, y, color=_paper_colour(method), label=PAPER_LABEL, zorder=4, **STAR)


def _draw_paper_values(axes: Axes, runs: pd.DataFrame, x: str, paper_x: float) -> None:
    """Draw the paper's Table 1: a star at `paper_x`, or a thin dashed line for a method without `x`."""
    for method, value in paper_values(runs).items():
        if runs.loc[runs["method"] == method, x].isna().all():
            axes.axhline(value, color=_paper_colour(method), label=PAPER_LABEL, **PAPER_LINE)
        else:
            draw_paper_star(axes, method, paper_x, value)


def _paper_colour(method: str) -> str:
    return method_style(PAPER_METHODS.index(method))["color"]
