"""The rank that is used: dev score over the number of singular directions kept."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rankprobe.errors import RankprobeError
from rankprobe.plots.groups import Group, groups, signed
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style
from rankprobe.runs import Frames

CURVES = {
    ("P", "top"): ("largest of P", "#0b3c6f", "-"),
    ("dP", "top"): ("P0 + largest of ΔP", "#2a7f62", "-"),
    ("P", "random"): ("random of P", "#9a9a9a", "--"),
    ("P", "bottom"): ("smallest of P", "#c2571a", "--"),
}
PANEL = (3.6, 2.8)


def truncation(frames: Frames) -> Figure:
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
    with style():
        figure, grid = panels(len(found), PANEL, least_width=5.2, below=0.7)
        for axes, group in zip(grid, found, strict=True):
            _panel(axes, group, frames.truncation)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return signed(figure, found)


def _panel(axes: Axes, group: Group, table: pd.DataFrame) -> None:
    own = table[table["run_id"].isin(group.run_ids)]
    metric = own["metric"].iloc[0]
    own = own[own["metric"] == metric]
    for (matrix, kept), (label, colour, line) in CURVES.items():
        part = own[(own["matrix"] == matrix) & (own["kept"] == kept)]
        band = part.groupby("k")["value"].agg(["mean", "min", "max"])
        axes.plot(band.index, band["mean"], line, color=colour, label=label, marker="o", markersize=2.5)
        axes.fill_between(band.index, band["min"], band["max"], color=colour, alpha=0.15, linewidth=0)
    axes.axhline(own["majority"].mean(), color="#444444", linestyle=":", label="majority")
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set_xlim(left=0)
    ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500]
    axes.set_xticks([k for k in ticks if k <= own["k"].max()], minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(title=group.title, xlabel="singular directions kept", ylabel=f"{own['split'].iloc[0]} {metric}")
