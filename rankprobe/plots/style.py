"""Two looks for figures, one look for each method, and no global state: a style holds inside a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb

from rankprobe.errors import unknown

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

METHODS: dict[str, dict[str, Any]] = {
    "finetune": {"color": "#1a1a1a", "marker": "h", "linestyle": (0, (8, 1.5))},
    "vanilla": {"color": "#5b9bd5", "marker": "s", "linestyle": (0, (4, 1.5))},
    "residual": {"color": "#1d6b4f", "marker": "^", "linestyle": (0, (6, 1.5, 1, 1.5))},
    "dpt": {"color": "#c2571a", "marker": "D", "linestyle": "-"},
    "probe": {"color": "#0b3c6f", "marker": "o", "linestyle": "-"},
    "dept": {"color": "#c8588f", "marker": "X", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    "subspace": {"color": "#b48fd6", "marker": "P", "linestyle": (0, (2, 1))},
    "ulpt": {"color": "#e8b54a", "marker": "v", "linestyle": (0, (1, 1))},
}
"""How each method is drawn, everywhere, and in which order. Their lightness differs, by 0.04 at least."""

MAJORITY = {"color": "#555555", "linestyle": (0, (1, 2)), "linewidth": 1}

LIGHTEST = 0.6
"""Share of white in the lightest of several curves of one method."""

SHARED: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # names are shown as they are, $ and _ included
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "rankprobe",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """Sizes in inches and settings of matplotlib.

    `columns` is the most panels side by side, `widths` the width of a figure with one column, two, and so
    on, `height` that of a row of panels, `letters` how many letters of text fit into an inch,
    `line` the height of a line of text, `spacing` that of several lines in units of the font's own.
    """

    columns: int
    widths: tuple[float, ...]
    height: float
    letters: float
    line: float
    spacing: float
    settings: dict[str, Any] = field(default_factory=dict)


LOOKS = {
    "screen": Look(
        columns=4,
        widths=(4.6, 7.2, 10.2, 13.2),
        height=2.6,
        letters=14,
        line=0.16,
        spacing=1.2,
        settings={
            "figure.dpi": 150,
            "savefig.dpi": 150,
            "font.size": 9,
            "axes.titlesize": 9,
            "lines.markersize": 5,
        },
    ),
    "paper": Look(
        columns=3,
        widths=(3.3, 6.8, 6.8),
        height=2.1,
        letters=17,
        line=0.14,
        spacing=1.1,
        settings={
            "figure.dpi": 150,
            "savefig.dpi": 300,
            "font.family": "serif",
            "font.serif": ["STIXGeneral", "DejaVu Serif"],
            "mathtext.fontset": "stix",
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.labelsize": 8,
            "axes.linewidth": 0.6,
            "xtick.labelsize": 7.5,
            "ytick.labelsize": 7.5,
            "legend.fontsize": 8,
            "lines.markersize": 4,
        },
    ),
}
"""`screen` for reading beside a terminal; `paper` for a two-column page, one or two columns wide."""


@contextmanager
def style(look: str = "screen") -> Iterator[Look]:
    """The settings of a look, undone on leaving.

    Raises:
        RankprobeError: no such look.
    """
    if look not in LOOKS:
        raise unknown("look", look, LOOKS)
    settings: Any = SHARED | LOOKS[look].settings
    with mpl.rc_context(settings):
        yield LOOKS[look]


def drawn_as(method: str, variant: int = 0) -> dict[str, Any]:
    """Colour, marker and line of a method; further curves of the same method are lighter, with open marks."""
    own = METHODS[method]
    white = LIGHTEST * (1 - 0.5**variant)
    red, green, blue = (part + (1 - part) * white for part in to_rgb(own["color"]))
    colour = to_hex((red, green, blue))
    return own | {"color": colour, "markerfacecolor": "white" if variant else colour}
