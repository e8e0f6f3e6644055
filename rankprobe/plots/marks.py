"""What a panel is made of: curves with their bands, dots with their bars, axes and their ticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from rankprobe.plots.curves import CURVE
from rankprobe.plots.style import MAJORITY, drawn_as

PAPER = "paper, Table 1"
FUNCTIONAL = "functional rank"

STAR: dict[str, Any] = {"marker": "*", "markersize": 10, "markerfacecolor": "none", "linestyle": "none"}
RING: dict[str, Any] = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "linestyle": "none"}
PAPER_LINE: dict[str, Any] = {"linestyle": "--", "linewidth": 0.7}

BAND = 0.18
"""Opacity of the band from least to greatest."""

APART = 0.09
"""Of the length of an axis: how far apart ticks must be for their labels to be read."""


class _Scale(Protocol):
    """What is called to choose an axis' scale: `Axes.set_xscale` or `Axes.set_yscale`."""

    def __call__(self, value: str, **options: Any) -> object: ...


def curve(axes: Axes, points: pd.DataFrame, **line: Any) -> None:
    """The mean over `x`, with a band from least to greatest; a lone point has a bar in its place."""
    axes.plot(points["x"], points["mean"], **line)
    if len(points) == 1:
        axes.vlines(points["x"], points["min"], points["max"], color=line["color"], linewidth=1)
    elif (points["n_seeds"] > 1).any():
        axes.fill_between(
            points["x"], points["min"], points["max"], color=line["color"], alpha=BAND, linewidth=0
        )


def level(axes: Axes, point: pd.Series, **line: Any) -> None:
    """What does not depend on x: a horizontal line, with a band from least to greatest."""
    line = {key: value for key, value in line.items() if not key.startswith("marker")}
    axes.axhline(point["mean"], **line)
    if point["n_seeds"] > 1:
        axes.axhspan(point["min"], point["max"], color=line["color"], alpha=BAND, linewidth=0)


def dots(axes: Axes, at: Iterable[float], points: pd.DataFrame, *, upright: bool = True, **mark: Any) -> None:
    """The mean at each place as a mark, with a bar from least to greatest."""
    places, mark = list(at), mark | {"linestyle": "none"}
    (axes.vlines if upright else axes.hlines)(
        places, points["min"], points["max"], color=mark["color"], linewidth=1
    )
    axes.plot(*((places, points["mean"]) if upright else (points["mean"], places)), **mark)


def majority(axes: Axes, values: Iterable[float], *, upright: bool = False) -> None:
    """A dotted line at each rate that is had without reading; where it is not known (NaN), none."""
    for i, value in enumerate(sorted({round(each, 9) for each in values if each == each})):
        (axes.axvline if upright else axes.axhline)(value, label="majority" if i == 0 else None, **MAJORITY)


def lines(points: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each curve of some points: how its method is drawn, with its name as label, and its points."""
    for _, part in points.groupby(CURVE, sort=False):
        method, variant, name = part[CURVE].iloc[0]
        yield drawn_as(method, variant) | {"label": name, "linewidth": 1.4}, part


def log_axis(axis: Axis, set_scale: _Scale, values: Iterable[float], **scale: Any) -> None:
    """Logarithmic, with ticks at the values that are drawn and nowhere else; `symlog` where it says so."""
    ticks = sorted(set(values))
    kind = "symlog" if scale else "log"
    set_scale(kind, **scale)
    transform = axis.get_transform()
    places = np.asarray(transform.transform(np.asarray(ticks, dtype=float)))
    kept = _readable(list(places))
    axis.set_major_locator(FixedLocator([ticks[i] for i in kept]))
    axis.set_major_formatter(FixedFormatter([f"{ticks[i]:,g}" for i in kept]))
    axis.set_minor_locator(NullLocator())


def _readable(places: Sequence[float]) -> list[int]:
    """Which ticks to keep so that none is too near to the one before: the first and the last always."""
    least = APART * (places[-1] - places[0])
    kept = [0]
    for i in range(1, len(places)):
        if places[i] - places[kept[-1]] >= least and places[-1] - places[i] >= least:
            kept.append(i)
    return kept if len(places) == 1 else [*kept, len(places) - 1]


def from_zero(axes: Axes) -> None:
    """A y axis from zero on; the line of the x axis stands below it, so that a curve at zero is seen."""
    axes.set_ylim(bottom=0)
    axes.spines["bottom"].set_position(("outward", 4))
    for line in axes.get_lines():
        line.set_clip_on(False)


def compact(count: float) -> str:
    """A number of parameters as the paper writes it.

    >>> [compact(each) for each in (950, 2280, 115984, 11_240_000)]
    ['950', '2.3K', '116K', '11.2M']
    """
    for size, letter in ((1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.3g}{letter}" if count >= 100 * size else f"{count / size:.1f}{letter}"
    return f"{count:.0f}"


def score_label(metrics: Iterable[str], score: str) -> str:
    """What a score is, of which step; an average over several metrics has none of its own."""
    names = sorted(set(metrics))
    name = names[0].replace("_", " ") if len(names) == 1 else "score"
    return f"dev {name}, {score} step (%)"
