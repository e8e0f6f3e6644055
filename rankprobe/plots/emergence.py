"""Rank emergence: the paper's Figure 3 and Figure 9, each curve beside its noise twin."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rankprobe.errors import RankprobeError
from rankprobe.plots.groups import Group, groups, ids_of, signed
from rankprobe.plots.legend import finish
from rankprobe.plots.marks import from_zero
from rankprobe.plots.panels import blocks, even_columns, panels
from rankprobe.plots.style import COLOURS, RUN, TWIN, style
from rankprobe.runs import Frames

SIGNS = {"n_positive": "positive", "n_negative": "negative"}
RANKS = {"P_numerical_rank": "numerical rank", "P_erank_rv": "effective rank"}


def fig3(frames: Frames, *, look: str = "screen") -> Figure:
    """Positive and negative entries of σ over training, one panel per group of probe runs.

    Source: Xiao et al. (2023), Figure 3. Differs: each curve has its noise twin (dashed), and several
    seeds are drawn as their mean with a band from least to greatest.

    Raises:
        RankprobeError: no probe run has logged a step.
    """
    found = [group for group in groups(frames) if _has_diagonal(group)]
    if not found:
        raise RankprobeError("fig3 needs a run of the probe, and there is none; train one: rankprobe probe")
    with style(look) as page:
        figure, grid = panels(len(found), page)
        for axes, group in zip(grid, found, strict=True):
            axes.set_title(group.title)
            _signs(axes, group)
        finish(figure, page, handles=_entries(SIGNS))
    return signed(figure, ids_of(found))


def fig9(frames: Frames, *, look: str = "screen") -> Figure:
    """Signs of σ (upper row) and rank of P (lower row) over training, one column per group of runs.

    Many groups take several such pairs of rows.

    Source: Xiao et al. (2023), Figure 9, whose lower row is the rank of U · ReLU(diag σ) · V. Differs:
    noise twins (dashed); the effective rank beside the numerical rank; methods without a diagonal have
    no upper panel.

    Raises:
        RankprobeError: no run has logged a step.
    """
    found = groups(frames)
    with style(look) as page:
        columns = even_columns(len(found), page)
        rows = [found[first : first + columns] for first in range(0, len(found), columns)]
        figure, grid = blocks([len(row) for row in rows for _ in "sr"], page)
        for row, upper, lower in zip(rows, grid[::2], grid[1::2], strict=True):
            for group, signs, ranks in zip(row, upper, lower, strict=True):
                signs.set_title(group.title)
                _signs_or_none(signs, group)
                _curves(ranks, group, RANKS)
                ranks.set_ylabel("rank of P")
        finish(figure, page, handles=_entries((SIGNS if any(map(_has_diagonal, found)) else {}) | RANKS))
    return signed(figure, ids_of(found))


def _has_diagonal(group: Group) -> bool:
    return not group.band("n_positive").empty


def _signs_or_none(axes: Axes, group: Group) -> None:
    if _has_diagonal(group):
        _signs(axes, group)
        return
    axes.text(0.5, 0.5, "no diagonal", ha="center", va="center", color="#777777")
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])


def _signs(axes: Axes, group: Group) -> None:
    _curves(axes, group, SIGNS)
    axes.set_ylabel("entries of σ")


def _curves(axes: Axes, group: Group, columns: dict[str, str]) -> None:
    for column in columns:
        run_colour, twin_colour = COLOURS[column]
        _curve(axes, group, f"twin_{column}", twin_colour, TWIN)
        _curve(axes, group, column, run_colour, RUN)
    axes.set_xlabel("step (optimizer updates)")
    from_zero(axes)


def _curve(axes: Axes, group: Group, column: str, colour: str, line: dict) -> None:
    band = group.band(column)
    if band.empty:
        return
    axes.plot(band.index, band["mean"], color=colour, label=column, **line)
    if len(group.run_ids) > 1:
        axes.fill_between(band.index, band["min"], band["max"], color=colour, alpha=0.2, linewidth=0)


def _entries(columns: dict[str, str]) -> list[Line2D]:
    """Of the legend: each quantity, and its noise twin."""
    handles = []
    for column, name in columns.items():
        run_colour, twin_colour = COLOURS[column]
        handles.append(Line2D([], [], color=run_colour, label=name, **RUN))
        handles.append(Line2D([], [], color=twin_colour, label=f"{name}, noise twin", **TWIN))
    return handles
