"""The looks of figures, and a style per method. `style` changes matplotlib's settings inside a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb

from rankprobe.errors import unknown

RUN_LINE = {"linestyle": "-", "linewidth": 1.6}
TWIN_LINE = {"linestyle": (0, (4, 2)), "linewidth": 1.2}
"""A run is solid; its noise twin is dashed, in a lighter shade of the run's colour."""

COLOURS = {
    "n_positive": ("#0b3c6f", "#6c96be"),
    "n_negative": ("#963800", "#b88863"),
    "P_numerical_rank": ("#1f1f1f", "#8b93a2"),
    "P_erank_rv": ("#1b5f47", "#669d89"),
}
"""Colours of each quantity: (run, twin). A twin is lighter, for greyscale print, and 3 : 1 against white."""

METHOD_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#191a1a", "marker": "h", "linestyle": (0, (8, 1.5))},
    {"color": "#1f99d9", "marker": "s", "linestyle": (0, (4, 1.5))},
    {"color": "#2f795c", "marker": "^", "linestyle": (0, (6, 1.5, 1, 1.5))},
    {"color": "#a23c00", "marker": "D", "linestyle": "-"},
    {"color": "#103c6f", "marker": "o", "linestyle": "-"},
    {"color": "#dd6ba2", "marker": "X", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    {"color": "#7e5c9f", "marker": "P", "linestyle": (0, (2, 1))},
    {"color": "#b28817", "marker": "v", "linestyle": (0, (1, 1))},
)
"""Styles of methods, in the order of `paper.method_order`.

Any two differ in lightness by at least 0.04, and by ΔE 2000 ≥ 10 to normal vision and with protanopia,
deuteranopia and tritanopia (simulated as Machado et al. 2009); each is at least 3 : 1 against white
(`tests/plots/test_colours.py`).
"""

BASELINE_LINE = {"color": "#555555", "linestyle": (0, (1, 2)), "linewidth": 1}

MAX_WHITE = 0.6
"""Upper bound on the share of white in the colours of a method's curves from the second on."""

MIN_CONTRAST = 3.05
"""Least contrast of a curve against white: 3 : 1 of WCAG 2.2 (success criterion 1.4.11), with a margin."""

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
        alone: whether a figure has no caption or page around it. It then has a headline, and the curves of a
            single column of panels have their names at their ends, which makes the figure wider.
        settings: matplotlib settings, added to `COMMON_SETTINGS`.
    """

    columns: int
    widths: tuple[float, ...]
    height: float
    letters: float
    line: float
    spacing: float
    alone: bool
    settings: dict[str, Any] = field(default_factory=dict)


_SCREEN = Look(
    columns=4,
    widths=(4.6, 7.2, 10.2, 13.2),
    height=2.6,
    letters=14,
    line=0.16,
    spacing=1.2,
    alone=True,
    settings={
        "figure.dpi": 150,
        "savefig.dpi": 150,
        "font.size": 9,
        "axes.titlesize": 9,
        "lines.markersize": 5,
    },
)

LOOKS = {
    "screen": _SCREEN,
    "page": replace(_SCREEN, alone=False),
    "paper": Look(
        columns=3,
        widths=(3.3, 6.8, 6.8),
        height=2.1,
        letters=17,
        line=0.14,
        spacing=1.1,
        alone=False,
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
"""`screen` for monitors; `paper` for a two-column page, where a figure is one or two columns wide; `page` for
an HTML page, where a figure of one panel fits a phone."""


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
    white = _most_white(base["color"]) * (1 - 0.5**variant)
    colour = to_hex(_with_white(base["color"], white))
    return base | {"color": colour, "markerfacecolor": "white" if variant else colour}


def contrast(colour: str) -> float:
    """The contrast ratio of a colour and white, from 1 to 21. Source: WCAG 2.2, relative luminance."""
    return 1.05 / (_luminance(to_rgb(colour)) + 0.05)


def _luminance(rgb: tuple[float, float, float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _with_white(colour: str, share: float) -> tuple[float, float, float]:
    red, green, blue = to_rgb(colour)
    return red + (1 - red) * share, green + (1 - green) * share, blue + (1 - blue) * share


@cache
def _most_white(colour: str) -> float:
    """The largest share of white, at most `MAX_WHITE`, with which a colour keeps `MIN_CONTRAST`."""
    shares = [i / 100 for i in range(int(100 * MAX_WHITE), -1, -1)]
    return next((w for w in shares if contrast(to_hex(_with_white(colour, w))) >= MIN_CONTRAST), 0.0)
