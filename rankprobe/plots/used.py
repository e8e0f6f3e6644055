"""The rank that is used, by method and by prompt length, as `rankprobe truncate` has found it. Ours."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import (
    HOW,
    NOT_SHARED,
    PANEL,
    finished,
    longest,
    named,
    on_true_labels,
    points,
    shared,
)
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import FUNCTIONAL, RING, curve, lines, log_axis, majority
from rankprobe.plots.panels import panels
from rankprobe.plots.scores import each_panel, or_error, title
from rankprobe.plots.style import style
from rankprobe.plots.truncation import kept_axis
from rankprobe.runs import Frames

CUT = ["run_id", "matrix", "kept", "metric", "k", "value", "majority", *HOW]

RANKS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def used(frames: Frames, *, look: str = "screen") -> Figure:
    """Score with the k largest singular directions of P, over k, a curve per method.

    A panel per task and model. A curve is the mean over seeds at those k that all its seeds were cut at. A
    ring marks the mean functional rank, the least k from which on 95 % of the gain over the majority score is
    kept; a run without such a gain has none, and the title says how many these are.

    Raises:
        RankprobeError: no finished run has been cut.
    """
    runs = on_true_labels(finished(frames))
    cut = frames.truncation.reindex(columns=CUT)
    needs = "finished runs that have been cut"
    or_error(runs[runs["run_id"].isin(cut["run_id"])], "used", needs, "rankprobe truncate RUN")
    cut = cut[(cut["matrix"] == "P") & (cut["kept"] == "top")].astype({"run_id": str})
    rows = runs.drop(columns=["majority", "value", *HOW], errors="ignore").merge(cut, on=["run_id", "metric"])
    # Which prompt was cut and which rows it was scored on are told apart as settings are.
    rows = named(dataclasses.replace(frames, settings=[*frames.settings, *HOW]), rows)
    found = [part for row in each_panel(rows) for part in row]
    drawn, left_out = [], False
    with style(look) as page:
        figure, axes_of = panels(len(found), page)
        for axes, part in zip(axes_of, found, strict=True):
            every = _curves(axes, part)
            drawn.append(shared(every))
            left_out |= len(drawn[-1]) < len(every)
            split = ", ".join(sorted(set(part["split"].map(str))))
            own = _each_once(part)["functional_rank"]
            axes.set_title(title(part) + _without(int(own.isna().sum()), len(own)))
            axes.set_ylabel(f"{split} {part['metric'].iloc[0]} (%)")
        finish(figure, page, seeds(drawn) + (f"; {NOT_SHARED}" if left_out else ""))
    return signed(figure, rows["run_id"])


def _curves(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    """Draw the curves of a panel and their rings; all points there are, those not drawn too."""
    found = points(rows, "k", "value")
    ranks = points(_each_once(rows), None, "functional_rank").set_index("curve")["mean"]
    for line, part in lines(shared(found)):
        curve(axes, part, **line | {"markersize": 2.5})
        k = ranks.get(line["label"], np.nan)
        if not np.isnan(k):
            ring: dict[str, Any] = line | RING | {"label": FUNCTIONAL}
            axes.plot(k, np.interp(k, part["x"], part["mean"]), **ring)
    majority(axes, rows["majority"])
    kept_axis(axes, rows["k"].max())
    return found


def _each_once(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per run, of rows that repeat it for each k."""
    own = rows.drop_duplicates("run_id")
    return own.reindex(columns=list(dict.fromkeys([*own, "functional_rank"]))).astype(
        {"functional_rank": float}
    )


def _without(count: int, runs: int) -> str:
    """A line for a title: how many of so many runs have no functional rank; none if each has one."""
    return f"\nno functional rank: {count} of {runs} runs" if count else ""


def length(frames: Frames, *, look: str = "screen") -> Figure:
    """Functional rank over prompt length, a curve per method, a panel per task and model.

    The thin line is rank = n, the most there can be. Runs without a gain over the majority score have no
    functional rank and are left out; the title says how many these are.

    Raises:
        RankprobeError: no finished run has a functional rank.
    """
    runs = on_true_labels(finished(frames))
    runs = runs.reindex(columns=list(dict.fromkeys([*runs, "functional_rank"])))
    cut = frames.truncation.reindex(columns=["run_id"])["run_id"].astype(str)
    without = runs[runs["functional_rank"].isna() & runs["run_id"].isin(cut)]
    runs = runs[runs["functional_rank"].notna()]
    or_error(runs, "length", "finished runs with a functional rank", "rankprobe truncate RUN")
    runs = named(frames, longest(frames, runs, "prompt_length"), "prompt_length")
    found = [part for row in each_panel(runs) for part in row]
    drawn, said = [], 0
    with style(look) as page:
        figure, axes_of = panels(len(found), page)
        for axes, part in zip(axes_of, found, strict=True):
            drawn.append(_over_length(axes, part))
            count = int((without[PANEL] == part[PANEL].iloc[0]).all(axis=1).sum())
            axes.set_title(title(part) + _without(count, len(part) + count))
            said += count
        elsewhere = len(without) - said
        note = f"; {elsewhere} runs on other data or weights have no functional rank" if elsewhere else ""
        finish(figure, page, seeds(drawn, "bar") + note)
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
