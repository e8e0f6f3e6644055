"""The rank that is used: dev score over the number of singular directions kept."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.plots.curves import HOW, NOT_SHARED
from rankprobe.plots.groups import Group, groups, signed
from rankprobe.plots.legend import finish
from rankprobe.plots.marks import BAND, log_axis, majority
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style
from rankprobe.runs import Frames, over_seeds, shown

CURVES = {
    ("P", "top"): ("largest of P", "#0b3c6f", "-"),
    ("dP", "top"): ("P0 + largest of ΔP", "#2a7f62", "-"),
    ("P", "random"): ("random of P", "#9a9a9a", "--"),
    ("P", "bottom"): ("smallest of P", "#c2571a", "--"),
}
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def truncation(frames: Frames, *, look: str = "screen") -> Figure:
    """Score with k singular directions of the prompt, over k; one panel per group of runs.

    Each curve is the mean over seeds at those k that all of them were cut at, with a band from least to
    greatest; the dotted line is the majority score, and nothing is learned below it. Cuts of the best prompt
    and of the final one, or scored on other rows, have panels of their own. k is on a scale that is linear to
    1 and logarithmic beyond.

    Raises:
        RankprobeError: no run has been cut.
    """
    if frames.truncation.empty:
        raise RankprobeError("no truncation curves to draw; make them first: rankprobe truncate RUN")
    seeds = dict(zip(frames.runs["run_id"], frames.runs["seed"], strict=True))
    every = frames.truncation.astype({"run_id": str})
    every = every.assign(seed=every["run_id"].map(seeds))
    found = [
        (group, cut) for group in groups(frames) for cut in _apart(every[every["run_id"].isin(group.run_ids)])
    ]
    several = len({_how(cut) for _, cut in found}) > 1
    with style(look) as page:
        figure, grid = panels(len(found), page)
        complete = [
            _panel(axes, group, cut, _how(cut) if several else "")
            for axes, (group, cut) in zip(grid, found, strict=True)
        ]
        finish(figure, page, "" if all(complete) else NOT_SHARED)
    return signed(figure, (run_id for _, cut in found for run_id in cut["run_id"].unique()))


def _apart(cut: pd.DataFrame) -> list[pd.DataFrame]:
    """The curves of a group by the prompt that was cut and the rows it was scored on."""
    return [part for _, part in cut.groupby([name for name in HOW if name in cut], dropna=False, sort=False)]


def _how(cut: pd.DataFrame) -> str:
    return ", ".join(f"{name} = {shown(cut[name].iloc[0])}" for name in HOW if name in cut)


def kept_axis(axes: Axes, most: float) -> None:
    """The x axis of a truncation curve: linear to 1 and logarithmic beyond."""
    ticks = [k for k in TICKS if k <= most]
    log_axis(axes.xaxis, axes.set_xscale, ticks, linthresh=1, linscale=0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("singular directions kept k")


def _panel(axes: Axes, group: Group, own: pd.DataFrame, how: str) -> bool:
    """Draw the curves of a group; whether all its seeds were cut at the same k."""
    metric, complete = own["metric"].iloc[0], True
    own = own[own["metric"] == metric]
    for (matrix, kept), (label, colour, line) in CURVES.items():
        part = own[(own["matrix"] == matrix) & (own["kept"] == kept)]
        every = over_seeds(part, ["k"], "value")
        band = every[every["n_seeds"] == every["n_seeds"].max()]
        complete &= len(band) == len(every)
        axes.plot(band["k"], band["mean"], line, color=colour, label=label, marker="o", markersize=2.5)
        axes.fill_between(band["k"], band["min"], band["max"], color=colour, alpha=BAND, linewidth=0)
    majority(axes, own["majority"])
    kept_axis(axes, own["k"].max())
    title = "\n".join(filter(None, [group.title, how]))
    axes.set(title=title, ylabel=f"{own['split'].iloc[0]} {str(metric).replace('_', ' ')} (%)")
    return complete
