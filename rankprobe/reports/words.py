"""What the numbers of a run say, in words that follow from them by stated rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankprobe.errors import RankprobeError
from rankprobe.rank import verdict
from rankprobe.runs import Run


def findings(runs: Sequence[Run]) -> list[str]:
    """Sentences about runs that differ in their seed only (or about one).

    The rules: a count of positive entries is evidence only if `rank.verdict` can tell it from that of the
    noise twin, over the runs whose twin did not diverge; the rank that is *present* is the numerical rank,
    beside the effective rank and its twin's; the rank that is *used* is the functional rank, with its
    interval, once `rankprobe truncate` has been run.
    A functional rank is given only where the score gains on the majority. What was trained on random weights,
    on our miniature, or on shuffled labels is said first.

    Raises:
        RankprobeError: a run has not logged a step.
    """
    rows = [run.readings() for run in runs]
    if not rows or not all(rows):
        raise RankprobeError("a run without a logged step has nothing to report")
    return [
        sentence
        for sentence in (
            _ground(runs[0].manifest),
            _count(runs, rows),
            _present(rows),
            _used(runs),
        )
        if sentence
    ]


def _ground(manifest: dict[str, Any]) -> str:
    """What a reader must know before any number."""
    backbone, data = manifest["backbone"], manifest["data"]
    about = []
    if backbone["random_weights"]:
        about.append("the weights of the model are random")
    if data["source"] == "bundled":
        about.append("the task is a miniature of ours, not SuperGLUE")
    if manifest["config"]["task"].get("control", "none") != "none":
        about.append("the labels it was trained on say nothing about the texts")
    return f"Mind that {'; '.join(about)}." if about else ""


def _count(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> str:
    counts = _column(rows, "n_positive")
    if not counts:
        return ""
    entries = _mean(np.sum([_column(rows, f"n_{sign}") for sign in ("positive", "negative", "zero")], axis=0))
    said = f"{_spread(counts)} of {entries} diagonal entries stayed positive"
    said += f" (mean of {len(runs)} seeds)" if len(runs) > 1 else ""
    if not any(counts):
        return (
            f"{said}: P is zero and stays so, as a dead entry gets no gradient; try a lower --learning-rate."
        )
    twins, lost = _column(rows, "twin_n_positive"), _diverged(rows, "n_positive")
    if not twins:
        reason = "the noise twin diverged" if lost else "there is no noise twin"
        return f"{said}; {reason}, so the count says nothing about rank."
    # Where some twins diverged, only the counts of the runs that still have theirs.
    found = verdict([row["n_positive"] for row in rows if row.get("twin_n_positive") is not None], twins)
    which = f"the noise twin diverged in {lost} of {len(rows)} runs; in the others, " if lost else ""
    said += f"; {which}the noise twin kept {_spread(twins)}: {found.words}"
    if not found.distinguishable:
        return f"{said}, so the count alone is not evidence of low rank."
    if found.mean > found.null_mean:
        return f"{said}, so the task kept entries alive that noise alone would have killed."
    return f"{said}, so the task let more entries die than noise alone would have."


def _present(rows: Sequence[dict[str, Any]]) -> str:
    ranks, effective = _column(rows, "P_numerical_rank"), _column(rows, "P_erank_rv")
    if not ranks:
        return ""
    twins = _column(rows, "twin_P_erank_rv")
    beside = f", its noise twin's {_spread(twins)}" if twins else ""
    if lost := _diverged(rows, "P_erank_rv"):
        beside += f" (the noise twin diverged in {lost} of {len(rows)} runs)"
    return f"P has numerical rank {_spread(ranks)}; its effective rank is {_spread(effective)}{beside}."


def _used(runs: Sequence[Run]) -> str:
    found = [(run, run.truncation()) for run in runs]
    if any(cut is None for _, cut in found):
        missing = next(run for run, cut in found if cut is None)
        return f"The rank that is used is not known yet; measure it: rankprobe truncate {missing.path}"
    said = []
    for matrix, name in (("P", "P"), ("dP", "ΔP (added to P0)")):
        own = [row for _, cut in found for row in (cut or {})["functional_rank"] if row["matrix"] == matrix]
        known = [row for row in own if row["functional_rank"] is not None]
        if not known:
            return "The score does not gain on the majority, so no rank can be said to be used."
        ranks = [row["functional_rank"] for row in known]
        low, high = min(row["low"] for row in known), max(row["high"] for row in known)
        said.append(f"{_spread(ranks)} ({low:.0f}–{high:.0f}) of {name}")
    lone = "" if len(runs) == 1 else ", over all seeds"
    return (
        f"The functional rank is {' and '.join(said)}: so many singular directions keep 95 % of the gain "
        f"over the majority (95 % interval over dev examples{lone})."
    )


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _diverged(rows: Sequence[dict[str, Any]], name: str) -> int:
    """How many runs have lost their noise twin: they have a reading, and its column is null for the twin."""
    twin = f"twin_{name}"
    if not any(twin in row for row in rows):
        return 0  # runs without a twin
    return sum(row.get(name) is not None and row.get(twin) is None for row in rows)


def _mean(values: Any) -> str:
    mean = float(np.mean(values))
    return f"{mean:.0f}" if mean.is_integer() else f"{mean:.1f}"


def _spread(values: Sequence[float]) -> str:
    """The mean, with the standard deviation where there are several."""
    if len(values) < 2:
        return _mean(values)
    return f"{_mean(values)} ± {np.std(values, ddof=1):.1f}"
