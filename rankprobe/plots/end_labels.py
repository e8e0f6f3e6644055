"""Names of curves at their ends, in place of the entries of a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.panels import PANEL_MARGIN
from rankprobe.plots.style import Look

LEADER, GAP = 0.05, 0.015
"""Length of the line from a curve to its name, and the space behind it, as shares of the panel's width."""

LINE = {"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 0}
"""The line from a curve to its name, for `Axes.annotate`: it ends at the left of the text."""

LINE_SPACING = 1.15
"""Height of a line of text with the space between two names, in units of `Look.line`."""


@dataclass(frozen=True)
class CurveEnd:
    """The end of a curve, or the middle of an area's end.

    Attributes:
        x, y: the point.
        name: the name of the curve.
        value: what is written below the name.
        colour: of the line from the curve to its name: the colour of the curve.
        text_colour: of the name; darker where the curve is too light for text.
    """

    x: float
    y: float
    name: str
    value: str
    colour: str
    text_colour: str


def label_ends(figure: Figure, ends: Mapping[Axes, Sequence[CurveEnd]], look: Look) -> None:
    """Write the name of each curve to the right of its end, and make the figure wider for the names.

    Names keep the order of the curves, and a distance from each other.

    Args:
        figure: with one column of panels.
        ends: of the curves of each panel, with all its curves and with its final limits of y.
        look: gives the sizes of text and panel.
    """
    for axes, own in ends.items():
        _label(axes, sorted(own, key=lambda end: end.y), look)
    texts = [text for own in ends.values() for end in own for text in (end.name, end.value)]
    figure.set_figwidth(figure.get_figwidth() + max(map(len, texts), default=0) / look.letters)


def _label(axes: Axes, ends: Sequence[CurveEnd], look: Look) -> None:
    lowest, highest = axes.get_ylim()
    line = LINE_SPACING * look.line / (look.height - PANEL_MARGIN) * (highest - lowest)
    for end, y in zip(ends, _apart([end.y for end in ends], 2 * line, lowest, highest), strict=True):
        axes.annotate(
            f"{end.name}\n{end.value}",
            label=end.name,
            xy=(end.x, end.y),
            xytext=(1 + LEADER + GAP, y),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=end.text_colour,
            annotation_clip=False,
            linespacing=look.spacing,
            arrowprops=LINE | {"color": end.colour},
        )


def _apart(places: Sequence[float], distance: float, lowest: float, highest: float) -> np.ndarray:
    """Move ascending places apart to at least `distance`; below `highest`, and above `lowest` if they fit."""
    middles = np.array(places, dtype=float)
    for i in range(1, len(middles)):
        middles[i] = max(middles[i], middles[i - 1] + distance)
    ceiling = highest
    for i in range(len(middles) - 1, -1, -1):
        middles[i] = min(middles[i], ceiling)
        ceiling = middles[i] - distance
    return middles
