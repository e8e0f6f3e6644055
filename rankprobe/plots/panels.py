"""Panels in rows, and nothing where there is no panel."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.plots.style import Look

MOST = 120
"""Panels in one figure."""

ROW, AROUND = 0.28, 1.0
"""Inches: a row of a panel, at least; and what title, ticks and label of a panel take up."""


def panels(count: int, look: Look) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, in rows of about equal length."""
    figure, (axes,) = blocks([count], look)
    return figure, axes


def blocks(sizes: Sequence[int], look: Look) -> tuple[Figure, list[list[Axes]]]:
    """A figure with blocks of panels under each other; each block begins a new row.

    All rows have as many columns as the widest block needs, its panels spread evenly over its rows.

    Raises:
        RankprobeError: more panels than a picture can hold.
    """
    if sum(sizes) > MOST:
        raise RankprobeError(f"{sum(sizes)} panels are too many; expected {MOST} at most: choose runs, --run")
    columns = even_columns(max(sizes), look)
    deep = [-(-size // columns) for size in sizes]
    figure, grid = plt.subplots(
        sum(deep),
        columns,
        figsize=(look.widths[columns - 1], look.height * sum(deep)),
        layout="constrained",
        squeeze=False,
    )
    plt.close(figure)  # the caller owns it; pyplot shall not keep it open
    found: list[list[Axes]] = []
    for size, rows in zip(sizes, deep, strict=True):
        first = sum(deep[: len(found)])
        axes = [each for row in grid[first : first + rows] for each in row]
        for unused in axes[size:]:
            unused.set_axis_off()
        found.append(axes[:size])
    return figure, found


def even_columns(count: int, look: Look) -> int:
    """Columns for `count` panels: as few rows as the look allows, then as few columns as these rows need."""
    rows = -(-count // look.columns)
    return -(-count // rows)


def taller(figure: Figure, axes: Sequence[Axes], inches: float) -> None:
    """Every row of panels so much taller."""
    places = [each.get_subplotspec() for each in axes]
    rows = {place.rowspan.start for place in places if place is not None}
    figure.set_figheight(figure.get_figheight() + inches * len(rows))


def room_for_rows(figure: Figure, axes: Sequence[Axes], look: Look) -> None:
    """Panels so high that the names of their rows, on the y axis, do not touch."""
    names = [[text.get_text() for text in each.get_yticklabels()] for each in axes]
    deep = [
        len(rows) * max(ROW, look.line * 1.25 * max(1 + name.count("\n") for name in rows)) for rows in names
    ]
    taller(figure, axes, max(0, max(deep) + AROUND - look.height))
