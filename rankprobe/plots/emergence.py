"""Rank emergence: the paper's Figure 3 and Figure 9, each curve beside its noise twin."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rankprobe.errors import RankprobeError
from rankprobe.plots.groups import Group, groups, signed
from rankprobe.plots.panels import panels
from rankprobe.plots.style import COLOURS, RUN, TWIN, style
from rankprobe.runs import Frames

SIGNS = {"n_positive": "positive", "n_negative": "negative"}
RANKS = {"P_numerical_rank": "numerical rank", "P_erank_rv": "effective rank"}
PANEL = (3.4, 2.5)
LEGEND = 4.8
BELOW = 0.6
"""Inches: a panel, the least width that holds the legend, and its height."""


def fig3(frames: Frames) -> Figure:
    """Positive and negative entries of σ over training, one panel per group of probe runs.

    Source: Xiao et al. (2023), Figure 3. Differs: each curve has its noise twin (dashed), and several
    seeds are drawn as their mean with a band from least to greatest.

    Raises:
        RankprobeError: no probe run has logged a step.
    """
    found = [group for group in groups(frames) if _has_diagonal(group)]
    if not found:
        raise RankprobeError("fig3 needs a run of the probe, and there is none; train one: rankprobe probe")
    with style():
        figure, grid = panels(len(found), PANEL, least_width=LEGEND, below=BELOW)
        for axes, group in zip(grid, found, strict=True):
            axes.set_title(group.title)
            _signs(axes, group)
        _legend(figure, SIGNS)
    return signed(figure, found)


def fig9(frames: Frames) -> Figure:
    """Signs of σ (upper row) and rank of P (lower row) over training, one column per group of runs.

    Source: Xiao et al. (2023), Figure 9, whose lower row is the rank of U · ReLU(diag σ) · V. Differs:
    noise twins (dashed); the effective rank beside the numerical rank; methods without a diagonal have
    no upper panel.

    Raises:
        RankprobeError: no run has logged a step.
    """
    found = groups(frames)
    with style():
        figure, grid = panels(2 * len(found), PANEL, least_width=LEGEND, below=BELOW, columns=len(found))
        for column, group in enumerate(found):
            upper, lower = grid[column], grid[len(found) + column]
            upper.set_title(group.title)
            if _has_diagonal(group):
                _signs(upper, group)
            else:
                upper.text(0.5, 0.5, "no diagonal", ha="center", va="center", color="#777777")
                upper.grid(visible=False)
                upper.set(xticks=[], yticks=[])
            _curves(lower, group, RANKS)
            lower.set_ylabel("rank of P")
        _legend(figure, (SIGNS if any(map(_has_diagonal, found)) else {}) | RANKS)
    return signed(figure, found)


def _has_diagonal(group: Group) -> bool:
    return not group.band("n_positive").empty


def _signs(axes: Axes, group: Group) -> None:
    _curves(axes, group, SIGNS)
    axes.set_ylabel("diagonal entries")


def _curves(axes: Axes, group: Group, columns: dict[str, str]) -> None:
    for column in columns:
        run_colour, twin_colour = COLOURS[column]
        _curve(axes, group, f"twin_{column}", twin_colour, TWIN)
        _curve(axes, group, column, run_colour, RUN)
    axes.set_xlabel("step (optimizer updates)")
    axes.set_ylim(bottom=-2)  # so that a curve at zero is not hidden by the axis


def _curve(axes: Axes, group: Group, column: str, colour: str, line: dict) -> None:
    band = group.band(column)
    if band.empty:
        return
    axes.plot(band.index, band["mean"], color=colour, label=column, **line)
    if len(group.run_ids) > 1:
        axes.fill_between(band.index, band["min"], band["max"], color=colour, alpha=0.2, linewidth=0)


def _legend(figure: Figure, columns: dict[str, str]) -> None:
    """Outside the axes, at the bottom, so that it never covers a curve."""
    handles = []
    for column, name in columns.items():
        run_colour, twin_colour = COLOURS[column]
        handles.append(Line2D([], [], color=run_colour, label=name, **RUN))
        handles.append(Line2D([], [], color=twin_colour, label=f"{name}, noise twin", **TWIN))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
