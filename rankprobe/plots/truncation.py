"""The rank that is used: dev score over the number of singular directions kept."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.plots.groups import Group, groups, ids_of, signed
from rankprobe.plots.legend import finish
from rankprobe.plots.marks import BAND, log_axis, majority
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style
from rankprobe.runs import Frames

CURVES = {
    ("P", "top"): ("largest of P", "#0b3c6f", "-"),
    ("dP", "top"): ("P0 + largest of ΔP", "#2a7f62", "-"),
    ("P", "random"): ("random of P", "#9a9a9a", "--"),
    ("P", "bottom"): ("smallest of P", "#c2571a", "--"),
}
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def truncation(frames: Frames, *, look: str = "screen") -> Figure:
    """Score with k singular directions of the prompt, over k; one panel per group of runs.

    Each curve is the mean over seeds, with a band from least to greatest; the dotted line is the majority
    score, and nothing is learned below it. k is on a scale that is linear to 1 and logarithmic beyond.

    Raises:
        RankprobeError: no run has been cut.
    """
    if frames.truncation.empty:
        raise RankprobeError("no truncation curves to draw; make them first: rankprobe truncate RUN")
    cut = set(frames.truncation["run_id"])
    found = [group for group in groups(frames) if cut & set(group.run_ids)]
    with style(look) as page:
        figure, grid = panels(len(found), page)
        for axes, group in zip(grid, found, strict=True):
            _panel(axes, group, frames.truncation)
        finish(figure, page)
    return signed(figure, ids_of(found))


def kept_axis(axes: Axes, most: float) -> None:
    """The x axis of a truncation curve: linear to 1 and logarithmic beyond."""
    ticks = [k for k in TICKS if k <= most]
    log_axis(axes.xaxis, axes.set_xscale, ticks, linthresh=1, linscale=0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("singular directions kept k")


def _panel(axes: Axes, group: Group, table: pd.DataFrame) -> None:
    own = table[table["run_id"].isin(group.run_ids)]
    metric = own["metric"].iloc[0]
    own = own[own["metric"] == metric]
    for (matrix, kept), (label, colour, line) in CURVES.items():
        part = own[(own["matrix"] == matrix) & (own["kept"] == kept)]
        band = part.groupby("k")["value"].agg(["mean", "min", "max"])
        axes.plot(band.index, band["mean"], line, color=colour, label=label, marker="o", markersize=2.5)
        axes.fill_between(band.index, band["min"], band["max"], color=colour, alpha=BAND, linewidth=0)
    majority(axes, own["majority"])
    kept_axis(axes, own["k"].max())
    axes.set(title=group.title, ylabel=f"{own['split'].iloc[0]} {str(metric).replace('_', ' ')} (%)")
