"""What the numbers of a run say, in words that follow from them by stated rules."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from rankprobe.errors import RankprobeError
from rankprobe.rank import verdict
from rankprobe.runs import Run

SIGNS = ("positive", "negative", "zero")


def findings(runs: Sequence[Run]) -> list[str]:
    """Sentences about runs that differ in their seed only (or about one).

    The rules: a count of positive entries is evidence only if `rank.verdict` can tell it from that of the
    noise twin, over the runs whose twin did not diverge; the rank that is *present* is the numerical rank,
    beside the effective rank and its twin's; the rank that is *used* is the functional rank, with its
    interval, once `rankprobe truncate` has been run. A functional rank is given only where the score gains on
    the majority. A number that not every seed has says how many seeds it is of. What was trained on random
    weights, on our miniature, or on shuffled labels is said first.

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
            _count(rows),
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


def _count(rows: Sequence[dict[str, Any]]) -> str:
    counted = [row for row in rows if row.get("n_positive") is not None]
    if not counted:
        return ""
    counts = _column(counted, "n_positive")
    entries = _mean([sum(row.get(f"n_{sign}") or 0 for sign in SIGNS) for row in counted])
    said = f"{_spread(counts)} of {entries} diagonal entries stayed positive"
    said += f" (mean of {_of_seeds(counts, rows)})" if len(rows) > 1 else ""
    if not any(counts):
        return (
            f"{said}: P is zero and stays so, as a dead entry gets no gradient; try a lower --learning-rate."
        )
    twins, lost = _column(rows, "twin_n_positive"), _diverged(rows, "n_positive")
    if not twins:
        reason = "the noise twin diverged" if lost else "there is no noise twin"
        return f"{said}; {reason}, so the count says nothing about rank."
    # Where some twins diverged, only the counts of the runs that still have theirs.
    found = verdict([row["n_positive"] for row in counted if row.get("twin_n_positive") is not None], twins)
    which = f"the noise twin diverged in {lost} of {len(rows)} runs; in the others, " if lost else ""
    kept = _spread(twins) if lost else _with_seeds(twins, rows)
    said += f"; {which}the noise twin kept {kept}: {found.words}"
    if not found.distinguishable:
        return f"{said}, so the count alone is not evidence of low rank."
    if found.mean > found.null_mean:
        return f"{said}, so the task kept entries alive that noise alone would have killed."
    return f"{said}, so the task let more entries die than noise alone would have."


def _present(rows: Sequence[dict[str, Any]]) -> str:
    names = {"P_numerical_rank": "P has numerical rank", "P_erank_rv": "its effective rank is"}
    said = [
        f"{words} {_with_seeds(values, rows)}"
        for name, words in names.items()
        if (values := _column(rows, name))
    ]
    if not said:
        return ""
    twins = _column(rows, "twin_P_erank_rv")
    lost, beside = _diverged(rows, "P_erank_rv"), ""
    if twins:
        beside = f", its noise twin's {_spread(twins) if lost else _with_seeds(twins, rows)}"
    beside += f" (the noise twin diverged in {lost} of {len(rows)} runs)" if lost else ""
    return f"{'; '.join(said)}{beside}."


def _used(runs: Sequence[Run]) -> str:
    found = [(run, run.truncation()) for run in runs]
    missing = [shlex.quote(str(run.path)) for run, cut in found if cut is None]
    if missing:
        return f"The rank that is used is not known yet; measure it: rankprobe truncate {' '.join(missing)}"
    cuts = [cut["functional_rank"] for _, cut in found if cut]
    said = []
    for matrix, name in (("P", "P"), ("dP", "ΔP (added to P0)")):
        own = [row for rows in cuts for row in rows if row["matrix"] == matrix]
        known = [row for row in own if row["functional_rank"] is not None]
        if known:
            said.append(_functional(known, name, len(runs)))
    if not said:
        return "The score does not gain on the majority, so no rank can be said to be used."
    interval = " (95 % interval over dev examples)" if len(runs) == 1 else ""
    return (
        f"The functional rank is {' and '.join(said)}: so many singular directions keep 95 % of the gain "
        f"over the majority{interval}."
    )


def _functional(known: Sequence[dict[str, Any]], name: str, seeds: int) -> str:
    """The functional rank of one matrix, of the seeds that have one, out of `seeds`.

    Over several seeds the limits of their intervals are given as what they are: no interval of the mean.
    """
    rank = _spread([row["functional_rank"] for row in known])
    lows, highs = _column(known, "low"), _column(known, "high")
    limits = f"{min(lows):.0f}–{max(highs):.0f}" if lows and highs else "no interval"
    defined = min(row.get("defined", 1) for row in known)
    unsure = f", undefined in {'' if seeds == 1 else 'up to '}{1 - defined:.0%} of resamples" * (defined < 1)
    if seeds == 1:
        return f"{rank} ({limits}{unsure}) of {name}"
    which = f"mean of {seeds} seeds"
    if len(known) < seeds:
        which = f"defined for {len(known)} of {seeds} seeds, as the others do not gain on the majority"
    return (
        f"{rank} of {name} ({which}; {limits} from the lowest to the highest limit of the seeds' own "
        f"intervals, each of 95 % over dev examples{unsure})"
    )


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The values that are there; who says them says of how many seeds they are: see `_with_seeds`."""
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _of_seeds(values: Sequence[float], rows: Sequence[Any]) -> str:
    return f"{len(rows)} seeds" if len(values) == len(rows) else f"{len(values)} of {len(rows)} seeds"


def _with_seeds(values: Sequence[float], rows: Sequence[Any]) -> str:
    """`_spread`, with the number of seeds where not all of them have a value."""
    return _spread(values) + (f" ({_of_seeds(values, rows)})" if len(values) < len(rows) else "")


def _diverged(rows: Sequence[dict[str, Any]], name: str) -> int:
    """How many runs have lost their noise twin: they have a reading, and its column is null for the twin."""
    twin = f"twin_{name}"
    return sum(row.get(name) is not None and twin in row and row[twin] is None for row in rows)


def _mean(values: Any) -> str:
    mean = float(np.mean(values))
    return f"{mean:.0f}" if mean.is_integer() else f"{mean:.1f}"


def _spread(values: Sequence[float]) -> str:
    """The mean, with the standard deviation where there are several."""
    if len(values) < 2:
        return _mean(values)
    return f"{_mean(values)} ± {np.std(values, ddof=1):.1f}"
