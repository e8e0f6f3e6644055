"""The rank that is used, by method and by prompt length, as `rankprobe truncate` has found it. Ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import finished, longest, named, on_true_labels, points
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import FUNCTIONAL, RING, curve, lines, log_axis, majority
from rankprobe.plots.panels import panels
from rankprobe.plots.scores import each_panel, or_error, title
from rankprobe.plots.style import style
from rankprobe.plots.truncation import kept_axis
from rankprobe.runs import Frames

RANKS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def used(frames: Frames, *, look: str = "screen") -> Figure:
    """Score with the k largest singular directions of P, over k, a curve per method.

    A panel per task and model. A ring marks the mean functional rank, the least k from which on 95 % of the
    gain over the majority score is kept; a run without such a gain has none.

    Raises:
        RankprobeError: no finished run has been cut.
    """
    runs = on_true_labels(finished(frames))
    cut = frames.truncation.reindex(columns=["run_id", "matrix", "kept", "metric", "k", "value", "split"])
    needs = "finished runs that have been cut"
    or_error(runs[runs["run_id"].isin(cut["run_id"])], "used", needs, "rankprobe truncate RUN")
    runs = named(frames, runs[runs["run_id"].isin(cut["run_id"])])
    cut = cut[(cut["matrix"] == "P") & (cut["kept"] == "top")].astype({"run_id": str})
    rows = runs.merge(cut.rename(columns={"value": "cut_score"}), on=["run_id", "metric"])
    found = [part for row in each_panel(rows) for part in row]
    drawn = []
    with style(look) as page:
        figure, axes_of = panels(len(found), page)
        for axes, part in zip(axes_of, found, strict=True):
            drawn.append(_curves(axes, part))
            axes.set(title=title(part), ylabel=f"{part['split'].iloc[0]} {part['metric'].iloc[0]} (%)")
        finish(figure, page, seeds(drawn))
    return signed(figure, rows["run_id"])


def _curves(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    found = points(rows, "k", "cut_score")
    ranks = rows.groupby("curve")["functional_rank"].mean() if "functional_rank" in rows else pd.Series()
    for line, part in lines(found):
        curve(axes, part, **line | {"markersize": 2.5})
        k = ranks.get(line["label"], np.nan)
        if not np.isnan(k):
            ring: dict[str, Any] = line | RING | {"label": FUNCTIONAL}
            axes.plot(k, np.interp(k, part["x"], part["mean"]), **ring)
    majority(axes, rows["majority"])
    kept_axis(axes, rows["k"].max())
    return found


def length(frames: Frames, *, look: str = "screen") -> Figure:
    """Functional rank over prompt length, a curve per method, a panel per task and model.

    The thin line is rank = n, the most there can be. Runs without a gain over the majority score have no
    functional rank and are left out.

    Raises:
        RankprobeError: no finished run has a functional rank.
    """
    runs = on_true_labels(finished(frames, "functional_rank"))
    or_error(runs, "length", "finished runs with a functional rank", "rankprobe truncate RUN")
    runs = named(frames, longest(frames, runs, "prompt_length"), "prompt_length")
    found = [part for row in each_panel(runs) for part in row]
    drawn = []
    with style(look) as page:
        figure, axes_of = panels(len(found), page)
        for axes, part in zip(axes_of, found, strict=True):
            drawn.append(_over_length(axes, part))
            axes.set_title(title(part))
        finish(figure, page, seeds(drawn, "bar"))
    return signed(figure, runs["run_id"])


def _over_length(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    found = points(runs, "prompt_length", "functional_rank")
    for line, part in lines(found):
        axes.vlines(part["x"], part["min"], part["max"], color=line["color"], linewidth=1)
        axes.plot(part["x"], part["mean"], **line)
    lengths = sorted(set(runs["prompt_length"]))
    axes.plot(lengths, lengths, color="#777777", linewidth=0.7, label="rank = n")
    log_axis(axes.xaxis, axes.set_xscale, lengths)
    log_axis(axes.yaxis, axes.set_yscale, [r for r in RANKS if r <= lengths[-1]], linthresh=1, linscale=0.4)
    axes.set_ylim(bottom=-0.1)
    axes.set(xlabel="prompt length n (tokens)", ylabel="functional rank of P (directions)")
    return found
