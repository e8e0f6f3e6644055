"""One look for every figure, and no global state: the style holds inside a context."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl

RUN = {"linestyle": "-", "linewidth": 1.6}
TWIN = {"linestyle": (0, (4, 2)), "linewidth": 1.2}
"""A run is drawn solid, its noise twin dashed and lighter, in the run's hue."""

COLOURS = {
    "n_positive": ("#0b3c6f", "#7fa8d1"),
    "n_negative": ("#c2571a", "#e9b48f"),
    "P_numerical_rank": ("#1f1f1f", "#9a9a9a"),
    "P_erank_rv": ("#2a7f62", "#94cdb8"),
}
"""Colour of each quantity: (run, twin). Light and dark differ, so that greyscale print still reads."""

_SETTINGS: Any = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "rankprobe",
    "svg.fonttype": "none",
}


def style() -> AbstractContextManager[None]:
    """The settings of every figure, undone on leaving."""
    return mpl.rc_context(_SETTINGS)
