"""The parts of a panel: curves with bands, dots with bars, baselines, axes and their ticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from rankprobe.plots.curves import CURVE_COLUMNS
from rankprobe.plots.style import BASELINE_LINE, method_style

BASELINE_LABEL = "baseline"
PAPER_LABEL = "paper, Table 1"
FUNCTIONAL_RANK_LABEL = "functional rank"

STAR: dict[str, Any] = {"marker": "*", "markersize": 10, "markerfacecolor": "none", "linestyle": "none"}
RING: dict[str, Any] = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "linestyle": "none"}
PAPER_LINE: dict[str, Any] = {"linestyle": "--", "linewidth": 0.7}

BAND_OPACITY = 0.18
"""Opacity of the band from minimum to maximum."""

TICK_DISTANCE = 0.09
"""Minimum distance between ticks with readable labels, as a share of the length of the axis."""


def each_curve(points: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the line style of each curve, with the curve's name as `label`, and the points of the curve.

    Args:
        points: as `curve_points` returns them.
    """
    for _, part in points.groupby(CURVE_COLUMNS, sort=False, observed=True):
        variant, name = part[["variant", "curve"]].iloc[0]
        style = method_style(int(part["method"].cat.codes.iloc[0]), variant)
        yield style | {"label": name, "linewidth": 1.4}, part


def draw_curve(axes: Axes, points: pd.DataFrame, **line: Any) -> None:
    """Draw the mean over x, with a band (for a single point, a bar) from minimum to maximum."""
    axes.plot(points["x"], points["mean"], **line)
    if len(points) == 1:
        axes.vlines(points["x"], points["min"], points["max"], color=line["color"], linewidth=1)
    elif (points["n_seeds"] > 1).any():
        axes.fill_between(
            points["x"], points["min"], points["max"], color=line["color"], alpha=BAND_OPACITY, linewidth=0
        )


def draw_level(axes: Axes, point: pd.Series, **line: Any) -> None:
    """Draw a value that does not depend on x: a horizontal line, with a band from minimum to maximum."""
    line = {key: value for key, value in line.items() if not key.startswith("marker")}
    axes.axhline(point["mean"], **line)
    if point["n_seeds"] > 1:
        axes.axhspan(point["min"], point["max"], color=line["color"], alpha=BAND_OPACITY, linewidth=0)


def draw_dots(
    axes: Axes, positions: Iterable[float], points: pd.DataFrame, *, vertical: bool = True, **mark: Any
) -> None:
    """Draw the mean at each position as a mark, with a bar from minimum to maximum.

    Args:
        axes: the panel.
        positions: places of the points on the other axis.
        points: with `mean`, `min` and `max`.
        vertical: the values are on the y axis, so that bars are vertical.
        mark: keywords of `Axes.plot`.
    """
    places, mark = list(positions), mark | {"linestyle": "none"}
    (axes.vlines if vertical else axes.hlines)(
        places, points["min"], points["max"], color=mark["color"], linewidth=1
    )
    axes.plot(*((places, points["mean"]) if vertical else (points["mean"], places)), **mark)


def draw_baselines(axes: Axes, values: Iterable[float], *, vertical: bool = False) -> None:
    """Draw each distinct baseline score as a dotted line; NaN is skipped.

    Args:
        axes: the panel.
        values: baseline scores.
        vertical: scores are on the x axis, so that lines are vertical.
    """
    for i, value in enumerate(sorted({round(v, 9) for v in values if v == v})):
        draw = axes.axvline if vertical else axes.axhline
        draw(value, label=BASELINE_LABEL if i == 0 else None, **BASELINE_LINE)


def log_axis(axis: Axis, values: Iterable[float], **scale: Any) -> None:
    """Make an axis logarithmic, with ticks at those of the given values that are not too close together.

    Args:
        axis: `xaxis` or `yaxis` of a panel.
        values: the values that are drawn.
        scale: options of the scale `symlog`, which replaces `log` if there are any.
    """
    ticks = sorted(set(values))
    set_scale = axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale
    set_scale("symlog" if scale else "log", **scale)
    transform = axis.get_transform()
    places = np.asarray(transform.transform(np.asarray(ticks, dtype=float)))
    readable = _readable(list(places))
    axis.set_major_locator(FixedLocator([ticks[i] for i in readable]))
    axis.set_major_formatter(FixedFormatter([f"{ticks[i]:,g}" for i in readable]))
    axis.set_minor_locator(NullLocator())


def _readable(places: Sequence[float]) -> list[int]:
    """Indices of ticks that are far enough from each other, always with the first and the last."""
    distance = TICK_DISTANCE * (places[-1] - places[0])
    indices = [0]
    for i in range(1, len(places)):
        if places[i] - places[indices[-1]] >= distance and places[-1] - places[i] >= distance:
            indices.append(i)
    return indices if len(places) == 1 else [*indices, len(places) - 1]


def start_at_zero(axes: Axes) -> None:
    """Start the y axis at zero, and move the x axis below it, so that a curve at zero is visible."""
    axes.set_ylim(bottom=0)
    axes.spines["bottom"].set_position(("outward", 4))
    for line in axes.get_lines():
        line.set_clip_on(False)


def short_count(count: float) -> str:
    """A number of parameters in the paper's notation.

    >>> [short_count(count) for count in (950, 2280, 115984, 11_240_000)]
    ['950', '2.3K', '116K', '11.2M']
    """
    for size, letter in ((1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.3g}{letter}" if count >= 100 * size else f"{count / size:.1f}{letter}"
    return f"{count:.0f}"


def score_label(metrics: Iterable[str], score: str) -> str:
    """The label of a score axis: metric and step. An average over several metrics is called `score`."""
    names = sorted(set(metrics))
    name = names[0].replace("_", " ") if len(names) == 1 else "score"
    return f"dev {name}, {score} step (%)"
