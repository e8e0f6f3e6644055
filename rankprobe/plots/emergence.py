"""Rank over training: the paper's Figures 3 and 9, with the noise twins of each curve."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rankprobe.errors import RankprobeError
from rankprobe.plots.end_labels import CurveEnd, label_ends
from rankprobe.plots.groups import Group, all_run_ids, group_runs
from rankprobe.plots.legend import finish_figure
from rankprobe.plots.marks import start_at_zero
from rankprobe.plots.panels import even_columns, panel_blocks, panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.style import COLOURS, RUN_LINE, TWIN_LINE, Look, style
from rankprobe.plots.twins import draw_envelope, twin_columns, twin_label, twins_note
from rankprobe.runs import Frames

SIGNS = {"n_positive": "positive", "n_negative": "negative"}
RANKS = {"P_numerical_rank": "numerical rank", "P_erank_rv": "effective rank"}


def fig3(frames: Frames, *, look: str = "screen") -> Figure:
    """Numbers of positive and negative entries of σ over training: a panel per group of probe runs.

    Source: Xiao et al. (2023), Figure 3. Differs: each curve has its noise twin (dashed), or the area between
    its lowest and its highest noise twin, and several seeds are drawn as their mean with a band from minimum
    to maximum.

    Raises:
        RankprobeError: no probe run has logged a step.
    """
    groups = [group for group in group_runs(frames) if _has_diagonal(group)]
    if not groups:
        raise RankprobeError("fig3 needs a run of the probe, and there is none; train one: rankprobe probe")
    with style(look) as sizes:
        figure, all_axes = panels(len(groups), sizes)
        for axes, group in zip(all_axes, groups, strict=True):
            axes.set_title(group.title)
            _draw_signs(axes, group)
        _finish(figure, sizes, groups, [SIGNS], "Signs of σ")
    return attach_run_ids(figure, all_run_ids(groups))


def fig9(frames: Frames, *, look: str = "screen") -> Figure:
    """Signs of σ (upper row) and rank of P (lower row) over training: a column per group of runs.

    If the groups do not fit into one pair of rows, further pairs follow.

    Source: Xiao et al. (2023), Figure 9, whose lower row is the rank of U · ReLU(diag σ) · V. Differs: noise
    twins (dashed); the effective rank as well as the numerical rank; an empty upper panel for methods
    without a diagonal.

    Raises:
        RankprobeError: no run has logged a step.
    """
    groups = group_runs(frames)
    with style(look) as sizes:
        columns = even_columns(len(groups), sizes)
        rows = [groups[first : first + columns] for first in range(0, len(groups), columns)]
        figure, blocks = panel_blocks([len(row) for row in rows for _ in ("signs", "ranks")], sizes)
        for row, upper, lower in zip(rows, blocks[::2], blocks[1::2], strict=True):
            for group, signs, ranks in zip(row, upper, lower, strict=True):
                signs.set_title(group.title)
                _draw_signs_or_empty(signs, group)
                _draw_columns(ranks, group, RANKS)
                ranks.set_ylabel("rank of P")
        signs_drawn = SIGNS if any(map(_has_diagonal, groups)) else {}
        _finish(figure, sizes, groups, [signs_drawn, RANKS], "Signs of σ and ranks of P")
    return attach_run_ids(figure, all_run_ids(groups))


def ranks(frames: Frames, *, look: str = "screen") -> Figure:
    """Numerical and effective rank of P over training, with noise twins: a panel per group of runs.

    It is the lower row of `fig9`.

    Raises:
        RankprobeError: no run has logged a step.
    """
    groups = group_runs(frames)
    with style(look) as sizes:
        figure, all_axes = panels(len(groups), sizes)
        for axes, group in zip(all_axes, groups, strict=True):
            axes.set_title(group.title)
            _draw_columns(axes, group, RANKS)
            axes.set_ylabel("rank of P")
        _finish(figure, sizes, groups, [RANKS], "Ranks of P")
    return attach_run_ids(figure, all_run_ids(groups))


def _has_diagonal(group: Group) -> bool:
    return not group.band("n_positive").empty


def _draw_signs_or_empty(axes: Axes, group: Group) -> None:
    if _has_diagonal(group):
        _draw_signs(axes, group)
        return
    axes.text(0.5, 0.5, "no diagonal", ha="center", va="center", color="#777777")
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])


def _draw_signs(axes: Axes, group: Group) -> None:
    _draw_columns(axes, group, SIGNS)
    axes.set_ylabel("entries of σ")


def _draw_columns(axes: Axes, group: Group, columns: dict[str, str]) -> None:
    """Draw logged columns and those of the noise twins over steps."""
    for column in columns:
        run_colour, twin_colour = COLOURS[column]
        twins = list(twin_columns(group.steps, column).values())
        if len(twins) == 1:
            _draw_band(axes, group, twins[0], twin_colour, TWIN_LINE)
        elif twins:
            draw_envelope(axes, {twin: group.band(twin)["mean"] for twin in twins}, twin_colour, column)
        _draw_band(axes, group, column, run_colour, RUN_LINE)
    axes.set_xlabel("step (optimizer updates)")
    start_at_zero(axes)


def _draw_band(axes: Axes, group: Group, column: str, colour: str, line: dict) -> None:
    band = group.band(column)
    if band.empty:
        return
    axes.plot(band.index, band["mean"], color=colour, label=column, **line)
    if len(group.run_ids) > 1:
        axes.fill_between(band.index, band["min"], band["max"], color=colour, alpha=0.2, linewidth=0)


def _finish(
    figure: Figure, sizes: Look, groups: Sequence[Group], columns: Sequence[dict[str, str]], quantity: str
) -> None:
    """Add the headline, and the name of each column and of its noise twins: at the curves, or in a legend.

    Args:
        figure: with all its panels drawn.
        sizes: the look.
        groups: of the panels.
        columns: logged columns and their names, of the panels of a group from top to bottom.
        quantity: what the columns are.
    """
    names = {column: name for each in columns for column, name in each.items()}
    kinds = dict.fromkeys(kind for group in groups for c in names for kind in twin_columns(group.steps, c))
    handles: list[Line2D] = []
    if len(groups) == 1 and sizes.alone:
        ends = [_curve_ends(groups[0], each) for each in columns]
        label_ends(figure, dict(zip(figure.axes, ends, strict=True)), sizes)
    else:
        for column, name in names.items():
            run_colour, twin_colour = COLOURS[column]
            handles.append(Line2D([], [], color=run_colour, label=name, **RUN_LINE))
            twins = f"{name}, {twin_label(kinds)}"
            handles.append(Line2D([], [], color=twin_colour, label=twins, **TWIN_LINE))
    contrast = ": training (solid) and training on noise (dashed)" if kinds else " in training"
    finish_figure(figure, sizes, twins_note(kinds), handles=handles, headline=quantity + contrast)


def _curve_ends(group: Group, columns: dict[str, str]) -> list[CurveEnd]:
    """The last point of the mean of each column, and the middle between the last means of its twins."""
    ends = []
    for column, name in columns.items():
        run_colour, twin_colour = COLOURS[column]
        twins = twin_columns(group.steps, column)
        label = f"{name}, {twin_label(twins)}"
        for title, drawn, colour in [(name, [column], run_colour), (label, [*twins.values()], twin_colour)]:
            means = [band["mean"] for band in map(group.band, drawn) if len(band)]
            if means and len(table := pd.concat(means, axis=1, join="inner")):
                low, high = table.iloc[-1].min(), table.iloc[-1].max()
                value = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
                x, y = float(table.index[-1]), float(low + high) / 2
                ends.append(CurveEnd(x, y, title, value, colour, text_colour=run_colour))
    return ends
