"""The noise twins of runs in a figure: their columns, their names, and the area between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from rankprobe.plots.style import TWIN_LINE
from rankprobe.twins import TWINS, twins_of

ENVELOPE_OPACITY = 0.3
"""Opacity of the area between the lowest and the highest twin."""


def twin_columns(frame: pd.DataFrame, reading: str) -> dict[str, str]:
    """The column of a reading of each kind of twin that has a value in `frame`."""
    columns = twins_of(map(str, frame.columns), reading)
    return {kind: name for kind, name in columns.items() if frame[name].notna().any()}


def twin_label(kinds: Collection[str]) -> str:
    """What a legend calls the twins; a Gaussian twin alone is `noise twin`, as it was the first kind."""
    if len(kinds) > 1:
        return "noise twins"
    (kind,) = kinds or ("gaussian",)
    return "noise twin" if kind == "gaussian" else TWINS[kind]


def twins_note(kinds: Collection[str]) -> str:
    """A note of a legend that names the twins between which there is an area; empty for fewer than two.

    >>> twins_note(["gaussian", "haar"])
    'noise twins: from the lowest to the highest mean of Gaussian and Haar twins'
    """
    if len(kinds) < 2:
        return ""
    *first, last = (name.removesuffix(" twin") for kind, name in TWINS.items() if kind in kinds)
    return f"noise twins: from the lowest to the highest mean of {', '.join(first)} and {last} twins"


def draw_envelope(axes: Axes, means: Mapping[str, pd.Series], colour: str, label: str) -> None:
    """Draw the area between the lowest and the highest of several twins, with dashed edges.

    Args:
        axes: the panel.
        means: of each twin, indexed by x. An x that some twin lacks is left out.
        colour: of area and edges.
        label: of the area, for a legend.
    """
    table = pd.concat(dict(means), axis=1, join="inner").sort_index()
    low, high = table.min(axis=1), table.max(axis=1)
    edge: dict[str, Any] = TWIN_LINE | {"color": colour}
    axes.plot(table.index, low, label=label, **edge)
    axes.plot(table.index, high, **edge)
    axes.fill_between(table.index, low, high, color=colour, alpha=ENVELOPE_OPACITY, linewidth=0)
