"""The looks of figures, and a style per method. `style` changes matplotlib's settings inside a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb

from rankprobe.errors import unknown

RUN_LINE = {"linestyle": "-", "linewidth": 1.6}
TWIN_LINE = {"linestyle": (0, (4, 2)), "linewidth": 1.2}
"""A run is solid; its noise twin is dashed, in a lighter shade of the run's colour."""

COLOURS = {
    "n_positive": ("#0b3c6f", "#7fa8d1"),
    "n_negative": ("#c2571a", "#e9b48f"),
    "P_numerical_rank": ("#1f1f1f", "#9a9a9a"),
    "P_erank_rv": ("#2a7f62", "#94cdb8"),
}
"""Colours of each quantity: (run, twin). Their lightness differs, so that greyscale print stays readable."""

METHOD_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#1a1a1a", "marker": "h", "linestyle": (0, (8, 1.5))},
    {"color": "#5b9bd5", "marker": "s", "linestyle": (0, (4, 1.5))},
    {"color": "#1d6b4f", "marker": "^", "linestyle": (0, (6, 1.5, 1, 1.5))},
    {"color": "#c2571a", "marker": "D", "linestyle": "-"},
    {"color": "#0b3c6f", "marker": "o", "linestyle": "-"},
    {"color": "#c8588f", "marker": "X", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    {"color": "#b48fd6", "marker": "P", "linestyle": (0, (2, 1))},
    {"color": "#e8b54a", "marker": "v", "linestyle": (0, (1, 1))},
)
"""Styles of methods, in the order of `paper.method_order`. Any two differ in lightness by at least 0.04."""

BASELINE_LINE = {"color": "#555555", "linestyle": (0, (1, 2)), "linewidth": 1}

MAX_WHITE = 0.6
"""Upper bound on the share of white in the colours of a method's curves from the second on."""

COMMON_SETTINGS: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # show names literally, including $ and _
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "rankprobe",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """Sizes and matplotlib settings of a look.

    Attributes:
        columns: maximum number of panels in a row.
        widths: width of a figure with one column, two columns, and so on, in inches.
        height: height of a row of panels, in inches.
        letters: letters of text per inch.
        line: height of a line of text, in inches.
        spacing: line spacing of text, in units of the font size.
        settings: matplotlib settings, added to `COMMON_SETTINGS`.
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
"""`screen` for monitors; `paper` for a two-column page, where a figure is one or two columns wide."""


@contextmanager
def style(look: str = "screen") -> Iterator[Look]:
    """Apply the matplotlib settings of a look inside the context, and yield the look.

    Raises:
        RankprobeError: an unknown look.
    """
    if look not in LOOKS:
        raise unknown("look", look, LOOKS)
    settings: Any = COMMON_SETTINGS | LOOKS[look].settings
    with mpl.rc_context(settings):
        yield LOOKS[look]


def method_style(position: int, variant: int = 0) -> dict[str, Any]:
    """Colour, marker and line style of a curve, as keywords of `Axes.plot`.

    Args:
        position: of the method in `paper.method_order`. Positions beyond the last style repeat the styles.
        variant: the number of the curve among the curves of its method, from 0. Curves from 1 on are lighter
            and have open markers.
    """
    base = METHOD_STYLES[position % len(METHOD_STYLES)]
    white = MAX_WHITE * (1 - 0.5**variant)
    red, green, blue = (part + (1 - part) * white for part in to_rgb(base["color"]))
    colour = to_hex((red, green, blue))
    return base | {"color": colour, "markerfacecolor": "white" if variant else colour}
