"""Arrange panels in rows, and leave unused places empty."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.plots.style import Look

MAX_PANELS = 120

ROW_HEIGHT, PANEL_MARGIN = 0.28, 1.0
"""Minimum height of a labelled row in a panel, and height of title, ticks and axis label, in inches."""


def panels(count: int, look: Look) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels in rows of about equal length.

    Raises:
        RankprobeError: too many panels.
    """
    figure, (axes,) = panel_blocks([count], look)
    return figure, axes


def panel_blocks(sizes: Sequence[int], look: Look) -> tuple[Figure, list[list[Axes]]]:
    """A figure with blocks of panels below each other; each block starts a new row.

    All rows have the same number of columns: that of the largest block, arranged as `even_columns` says.

    Args:
        sizes: number of panels of each block.
        look: gives the sizes and the maximum number of columns.

    Returns:
        The figure, and the panels of each block.

    Raises:
        RankprobeError: more than `MAX_PANELS` panels.
    """
    if sum(sizes) > MAX_PANELS:
        raise RankprobeError(
            f"{sum(sizes)} panels are too many; expected at most {MAX_PANELS}: choose runs with --run"
        )
    columns = even_columns(max(sizes), look)
    n_rows = [-(-size // columns) for size in sizes]
    figure, grid = plt.subplots(
        sum(n_rows),
        columns,
        figsize=(look.widths[columns - 1], look.height * sum(n_rows)),
        layout="constrained",
        squeeze=False,
    )
    plt.close(figure)  # the caller owns the figure; pyplot must not keep it open
    blocks: list[list[Axes]] = []
    for size, rows in zip(sizes, n_rows, strict=True):
        first = sum(n_rows[: len(blocks)])
        axes = [panel for row in grid[first : first + rows] for panel in row]
        for unused in axes[size:]:
            unused.set_axis_off()
        blocks.append(axes[:size])
    return figure, blocks


def even_columns(count: int, look: Look) -> int:
    """The least number of columns for `count` panels in the least number of rows that the look allows."""
    rows = -(-count // look.columns)
    return -(-count // rows)


def grow_rows(figure: Figure, axes: Sequence[Axes], inches: float) -> None:
    """Make every row of panels taller by `inches`."""
    places = [panel.get_subplotspec() for panel in axes]
    rows = {place.rowspan.start for place in places if place is not None}
    figure.set_figheight(figure.get_figheight() + inches * len(rows))


def fit_row_labels(figure: Figure, axes: Sequence[Axes], look: Look) -> None:
    """Make panels taller if the tick labels on their y axes would overlap."""
    labels = [[text.get_text() for text in panel.get_yticklabels()] for panel in axes]
    heights = [
        len(names) * max(ROW_HEIGHT, look.line * 1.25 * max(1 + name.count("\n") for name in names))
        for names in labels
    ]
    grow_rows(figure, axes, max(0, max(heights) + PANEL_MARGIN - look.height))
