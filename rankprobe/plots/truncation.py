"""The rank used: dev score over the number of singular directions that a truncated prompt keeps."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.plots.curves import CUT_COLUMNS, LEFT_OUT_K
from rankprobe.plots.groups import Group, group_runs
from rankprobe.plots.legend import finish_figure
from rankprobe.plots.marks import BAND_OPACITY, draw_baselines, log_axis
from rankprobe.plots.panels import panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.style import style
from rankprobe.rank import share_interval
from rankprobe.runs import Frames, over_seeds, setting_text

CURVES = {
    ("P", "top"): ("largest of P", "#0b3c6f", "-"),
    ("dP", "top"): ("P0 + largest of ΔP", "#2a7f62", "-"),
    ("P", "random"): ("random of P", "#929292", "--"),
    ("P", "bottom"): ("smallest of P", "#c2571a", "--"),
}
"""Label, colour and line of each curve, by the columns `matrix` and `kept` of `Frames.truncation`."""

K_TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def truncation(frames: Frames, *, look: str = "screen") -> Figure:
    """Score of the prompt with k of its singular directions, over k: a panel per group of runs.

    A curve is the mean over seeds at those k that all seeds have, with a band from minimum to maximum. The
    dotted line is the baseline score; a whole prompt that does not exceed it did not learn. A curve is of the
    seeds that learned, unless none did. If some did not, the title gives the number that did, with its 95 %
    interval. The best and the final prompt have separate panels, and so have scores on different rows. The
    scale of k is linear up to 1 and logarithmic above.

    Raises:
        RankprobeError: `rankprobe truncate` has not been run on any run.
    """
    if frames.truncation.empty:
        raise RankprobeError("no truncation curves to draw; make them first: rankprobe truncate RUN")
    seeds = dict(zip(frames.runs["run_id"], frames.runs["seed"], strict=True))
    rows = frames.truncation.astype({"run_id": str})
    rows = rows.assign(seed=rows["run_id"].map(seeds))
    parts = [
        (group, part)
        for group in group_runs(frames)
        for part in _split(rows[rows["run_id"].isin(group.run_ids)])
    ]
    several = len({_description(part) for _, part in parts}) > 1
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        complete = [
            _draw_panel(axes, group, part, _description(part) if several else "")
            for axes, (group, part) in zip(all_axes, parts, strict=True)
        ]
        finish_figure(figure, sizes, "" if all(complete) else LEFT_OUT_K)
    return attach_run_ids(figure, (run_id for _, part in parts for run_id in part["run_id"].unique()))


def _split(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Split the curves of a group by truncated prompt and scored rows."""
    columns = [name for name in CUT_COLUMNS if name in rows]
    return [part for _, part in rows.groupby(columns, dropna=False, sort=False)]


def _description(rows: pd.DataFrame) -> str:
    """The prompt that was truncated, and the rows that scored it."""
    return ", ".join(f"{name} = {setting_text(rows[name].iloc[0])}" for name in CUT_COLUMNS if name in rows)


def label_k_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """Label the x axis of truncation curves, and make it linear up to 1 and logarithmic above.

    Args:
        axes: the panel.
        rows: the curves of the panel, by `k`. If all are in the order of sensitivity, the label says so.
    """
    ticks = [k for k in K_TICKS if k <= rows["k"].max()]
    by_sensitivity = "order" in rows and rows["order"].eq("sensitivity").all()
    log_axis(axes.xaxis, ticks, linthresh=1, linscale=0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("singular directions kept k" + (", most sensitive first" if by_sensitivity else ""))


def learned_count(learned: pd.Series) -> str:
    """The number of runs that learned, with the 95 % interval of their share; a value per run."""
    low, high = share_interval(int(learned.sum()), len(learned))
    return f"{learned.sum()} of {len(learned)} ({low:.0%} to {high:.0%})"


def _draw_panel(axes: Axes, group: Group, rows: pd.DataFrame, description: str) -> bool:
    """Draw the curves of a group; return whether all its seeds have the same k."""
    metric, complete = rows["metric"].iloc[0], True
    rows = rows[rows["metric"] == metric]
    whole = rows[rows["k"] == rows.groupby("run_id")["k"].transform("max")]
    learned = (whole["value"] > whole["baseline"]).groupby(whole["run_id"]).all()
    if learned.any():
        rows = rows[rows["run_id"].map(learned).astype(bool)]
    for (matrix, kept), (label, colour, line) in CURVES.items():
        part = rows[(rows["matrix"] == matrix) & (rows["kept"] == kept)]
        points = over_seeds(part, ["k"], "value")
        shared = points[points["n_seeds"] == points["n_seeds"].max()]
        complete &= len(shared) == len(points)
        axes.plot(shared["k"], shared["mean"], line, color=colour, label=label, marker="o", markersize=2.5)
        axes.fill_between(
            shared["k"], shared["min"], shared["max"], color=colour, alpha=BAND_OPACITY, linewidth=0
        )
    draw_baselines(axes, rows["baseline"])
    label_k_axis(axes, rows)
    count = "" if learned.all() else f"learned: {learned_count(learned)}"
    title = "\n".join(filter(None, [group.title, description, count]))
    axes.set(title=title, ylabel=f"{rows['split'].iloc[0]} {str(metric).replace('_', ' ')} (%)")
    return complete
