"""A figure for a page: SVG, the entries of its legend as switches, and its data as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rankprobe.plots.alt import alt_text, colour_of, drawn_panels, one_line, series_of
from rankprobe.plots.style import LOOKS
from rankprobe.plots.svg import SERIES, svg_text

MAX_POINTS = 500
"""Points of a curve in the picture; of longer curves, points at equal distances are drawn."""

MAX_ROWS = 100
"""Rows of a table of data; of longer curves, points at equal distances are listed."""


@dataclass(frozen=True)
class InlineFigure:
    """A figure as a page needs it.

    Attributes:
        prefix: the start of its ids.
        svg: one `<svg>` element.
        title, description: what it shows, in words.
        switches: number and label of each entry of its legend; the number is `data-series` in the SVG.
        tables: title of a panel, and its data: a row per x.
        thinned: the tables leave out points.
        narrow: it has one column of panels, so that it can shrink to the width of a phone.
    """

    prefix: str
    svg: str
    title: str
    description: str
    switches: list[tuple[int, str]]
    tables: list[tuple[str, pd.DataFrame]]
    thinned: bool
    narrow: bool


def inline(figure: Figure, prefix: str) -> InlineFigure:
    """Prepare a figure for a page; the figure itself is thinned.

    Args:
        figure: drawn in the look `page`.
        prefix: letters, digits and hyphens, unique in the page.
    """
    series = series_of(figure)
    numbers = {colour: i for i, colour in enumerate(series)}
    present: set[int] = set()
    tables, thinned = [], False
    for panel in drawn_panels(figure):
        table, short = _data(panel, series)
        thinned |= short
        if len(table):
            tables.append((one_line(panel.get_title()), table))
        for artist in [*panel.lines, *panel.collections]:
            number = numbers.get(colour_of(artist) or "")
            if number is not None:
                present.add(number)
                artist.set_gid(f"{SERIES}{number}")
            _thin(artist)
    title, description = alt_text(figure)
    switches = [(i, label) for i, label in enumerate(series.values()) if i in present]
    svg = svg_text(figure, prefix, "page")
    narrow = figure.get_figwidth() <= LOOKS["page"].widths[0]
    return InlineFigure(prefix, svg, title, description, switches, tables, thinned, narrow)


def _thin(artist: Any) -> None:
    """Leave at most `MAX_POINTS` points of a curve, or of the two edges of an area."""
    if isinstance(artist, Line2D):
        x, y = (np.asarray(values) for values in artist.get_data())
        chosen = _places(len(x), MAX_POINTS)
        artist.set_data(x[chosen], y[chosen])
    elif isinstance(artist, PolyCollection):
        edges = _edges(artist)
        if edges is not None and len(edges) > MAX_POINTS:
            x, low, high = edges.iloc[_places(len(edges), MAX_POINTS)].to_numpy().T
            artist.set_verts([np.concatenate([np.c_[x, low], np.c_[x, high][::-1]])])


def _places(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `count` points at equal distances, with the first and the last."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def _edges(area: PolyCollection) -> pd.DataFrame | None:
    """x, lower and upper edge of an area that `fill_between` drew in one piece; otherwise None."""
    paths = [np.asarray(path.vertices) for path in area.get_paths()]
    if len(paths) != 1 or len(paths[0]) < 5:
        return None
    (vertices,) = paths
    count = (len(vertices) - 3) // 2  # start, one edge, turn, the other edge backwards, end
    one, other = vertices[1 : count + 1], vertices[count + 2 : 2 * count + 2][::-1]
    if len(one) != len(other) or not np.allclose(one[:, 0], other[:, 0]):
        return None
    low, high = np.minimum(one[:, 1], other[:, 1]), np.maximum(one[:, 1], other[:, 1])
    return pd.DataFrame({"x": one[:, 0], "low": low, "high": high})


def _data(panel: Axes, series: dict[str, str]) -> tuple[pd.DataFrame, bool]:
    """The data of a panel, a row per x and a column per curve, and whether points are left out."""
    swapped = panel.yaxis_inverted()  # a row per category, and values along x
    axis = panel.yaxis if swapped else panel.xaxis
    names = _categories(axis)
    labels = {label for joined in series.values() for label in joined.split("; ")}
    columns: dict[str, pd.Series] = {}
    levels: dict[str, float] = {}
    previous: tuple[str | None, str] = (None, "")
    for line in panel.lines:
        colour, own = colour_of(line), _own_label(line)
        label = own if own in labels else series.get(colour or "", "") or own or ("value" if swapped else "")
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        x, y = (y, x) if swapped else (x, y)
        if not label or not len(x):
            continue
        if line.get_transform() != panel.transData:  # of axhline or axvline: the same for all x
            levels[label] = float(y[0])
            continue
        values = _named(pd.Series(y, index=x), names)
        if names and label in columns:
            values = pd.concat([columns[label], values])
        elif str(line.get_label()).startswith("_") and previous == (colour, label) and label in columns:
            columns[f"{label}, lowest"] = columns.pop(label)
            label = f"{label}, highest"
        elif label in columns:
            label = f"{label} ({sum(name.startswith(label) for name in columns) + 1})"
        columns[label] = values[~values.index.duplicated()]
        previous = (colour, label)
    for area in panel.collections:
        label = series.get(colour_of(area) or "", "value" if swapped else "")
        edges = _bars(area, swapped) if isinstance(area, LineCollection) else None
        edges = _edges(area) if isinstance(area, PolyCollection) else edges
        if label not in columns or edges is None or not (edges["low"] < edges["high"]).any():
            continue
        for end, name in (("low", "least"), ("high", "greatest")):
            values = _named(pd.Series(edges[end].to_numpy(), index=edges["x"]), names)
            values = pd.concat([columns.get(f"{label}, {name}", values[:0]), values])
            columns[f"{label}, {name}"] = values[~values.index.duplicated()]
    if not columns:
        return pd.DataFrame(), False
    table = pd.concat(columns, axis=1)
    table = (table if names else table.sort_index()).assign(**levels)
    n_rows = len(table)
    table = table.iloc[_places(n_rows, MAX_ROWS)]
    table.insert(0, one_line(axis.label.get_text()) or ("row" if swapped else "x"), list(table.index))
    return table.reset_index(drop=True), n_rows > MAX_ROWS


def _own_label(line: Line2D) -> str:
    label = str(line.get_label())
    return "" if label.startswith("_") else one_line(label)


def _bars(bars: LineCollection, horizontal: bool) -> pd.DataFrame | None:
    """Place, low and high end of bars from minimum to maximum."""
    segments = [np.asarray(segment) for segment in bars.get_segments()]
    if not segments or any(segment.shape != (2, 2) for segment in segments):
        return None
    along, across = (0, 1) if horizontal else (1, 0)
    ends = np.array([[s[0, across], s[:, along].min(), s[:, along].max()] for s in segments])
    return pd.DataFrame(ends, columns=["x", "low", "high"])


def _categories(axis: Axis) -> list[str]:
    """The names on an axis of categories at 0, 1, …; empty for an axis of numbers."""
    names = [one_line(text.get_text()) for text in axis.get_ticklabels()]
    if list(axis.get_ticklocs()) != list(range(len(names))):
        return []
    return names if axis.axes.yaxis_inverted() or len(names) == 2 else []


def _named(values: pd.Series, names: list[str]) -> pd.Series:
    """The values with the name of the nearest category in place of each x."""
    if not names:
        return values
    return values.set_axis([names[min(max(round(x), 0), len(names) - 1)] for x in values.index])
