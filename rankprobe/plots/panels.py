"""Panels in rows, and nothing where there is no panel."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 4


def panels(
    count: int, size: tuple[float, float], *, least_width: float, below: float, columns: int = COLUMNS
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of `size` inches, at least so wide, and with room below for a legend."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(max(size[0] * columns, least_width), size[1] * rows + below),
        layout="constrained",
        squeeze=False,
    )
    plt.close(figure)  # the caller owns it; pyplot shall not keep it open
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]
