"""Sentences about the numbers of a run, derived from the numbers by fixed rules."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from rankprobe.errors import RankprobeError
from rankprobe.rank import share_interval, verdict
from rankprobe.reports.used import rank_interval
from rankprobe.runs import Run

SIGNS = ("positive", "negative", "zero")

Row = dict[str, Any]
"""The readings of one run at its last logged step, by column; or one row of its functional ranks."""


def findings(runs: Sequence[Run]) -> list[str]:
    """Sentences about one run, or about runs that differ only in their seed.

    The rules:

    - Caveats come first: random weights, our miniature data, shuffled or random labels.
    - The number of positive entries of σ is evidence about rank only if `rank.verdict` distinguishes it from
      the number of the noise twin. Runs whose twin diverged are left out of this comparison.
    - The rank *present* in P is its numerical rank, given with the effective rank of P and of the twin.
    - The rank *used* is the functional rank with its interval, known after `rankprobe truncate`. It is given
      only if the score exceeds the baseline. Seeds that learned are counted, not averaged with the others.
    - If some seeds lack a number, the sentence says how many seeds have it.

    Raises:
        RankprobeError: a run has not logged a step.
    """
    rows = [run.readings() for run in runs]
    if not rows or not all(rows):
        raise RankprobeError("a run without a logged step has nothing to report")
    sentences = (_caveats(runs[0].manifest), _positive_entries(rows), _present_rank(rows), _used_rank(runs))
    return [sentence for sentence in sentences if sentence]


def _caveats(manifest: dict[str, Any]) -> str:
    """What a reader must know before the numbers."""
    backbone, data = manifest["backbone"], manifest["data"]
    caveats = []
    if backbone["random_weights"]:
        caveats.append("the model has random weights")
    if data["source"] == "bundled":
        caveats.append("the task is a miniature of ours, not SuperGLUE")
    if manifest["config"].get("control", "none") != "none":
        caveats.append("the training labels do not belong to the texts")
    return f"Note that {'; '.join(caveats)}." if caveats else ""


def _positive_entries(rows: Sequence[Row]) -> str:
    """The number of positive entries of σ, compared with the noise twin; empty without σ."""
    counted = [row for row in rows if row.get("n_positive") is not None]
    if not counted:
        return ""
    counts = _column(counted, "n_positive")
    entries = _mean([sum(row.get(f"n_{sign}") or 0 for sign in SIGNS) for row in counted])
    sentence = f"{_mean_sd(counts)} of {entries} diagonal entries stayed positive"
    sentence += f" (mean of {_seed_count(counts, rows)})" if len(rows) > 1 else ""
    if not any(counts):
        return (
            f"{sentence}: P is zero and stays zero, as a dead entry gets no gradient; try a lower "
            "--learning-rate."
        )
    twins, n_diverged = _column(rows, "twin_n_positive"), _diverged_twins(rows, "n_positive")
    if not twins:
        reason = "the noise twin diverged" if n_diverged else "there is no noise twin"
        return f"{sentence}; {reason}, so the count says nothing about rank."
    # If some twins diverged, compare only the other runs.
    compared = [row["n_positive"] for row in counted if row.get("twin_n_positive") is not None]
    result = verdict(compared, twins)
    twin_count = _mean_sd(twins) if n_diverged else _with_seed_count(twins, rows)
    exception = f"the noise twin diverged in {n_diverged} of {len(rows)} runs; in the others, "
    sentence += f"; {exception if n_diverged else ''}the noise twin kept {twin_count}: {result.words}"
    if not result.distinguishable:
        return f"{sentence}, so the count alone is not evidence of low rank."
    if result.mean > result.null_mean:
        return f"{sentence}, so the task kept entries alive that noise alone would have killed."
    return f"{sentence}, so the task let more entries die than noise alone would have."


def _present_rank(rows: Sequence[Row]) -> str:
    """Numerical and effective rank of P, and the effective rank of the noise twin."""
    names = {"P_numerical_rank": "P has numerical rank", "P_erank_rv": "its effective rank is"}
    parts = [
        f"{words} {_with_seed_count(values, rows)}"
        for name, words in names.items()
        if (values := _column(rows, name))
    ]
    if not parts:
        return ""
    twins = _column(rows, "twin_P_erank_rv")
    n_diverged, twin = _diverged_twins(rows, "P_erank_rv"), ""
    if twins:
        twin = f", its noise twin's {_mean_sd(twins) if n_diverged else _with_seed_count(twins, rows)}"
    twin += f" (the noise twin diverged in {n_diverged} of {len(rows)} runs)" if n_diverged else ""
    return f"{'; '.join(parts)}{twin}."


def _used_rank(runs: Sequence[Run]) -> str:
    """The functional ranks of P and ΔP, or the command that measures them."""
    results = [(run, run.truncation()) for run in runs]
    unmeasured = [shlex.quote(str(run.path)) for run, truncation in results if truncation is None]
    if unmeasured:
        return f"The functional rank is not known yet; measure it: rankprobe truncate {' '.join(unmeasured)}"
    ranks = [row for _, truncation in results if truncation for row in truncation["functional_rank"]]
    if len(orders := {row["order"] for row in ranks}) > 1:
        paths = " ".join(shlex.quote(str(run.path)) for run in runs)
        return (
            "The functional ranks of the seeds are of different orders of directions; measure them alike: "
            f"rankprobe truncate {paths}"
        )
    by_matrix = {name: [row for row in ranks if row["matrix"] == name] for name in ("P", "dP")}
    learned = _learned([row["functional_rank"] is not None for row in by_matrix["P"]])
    parts = []
    for matrix, name in (("P", "P"), ("dP", "ΔP (added to P0)")):
        defined = [row for row in by_matrix[matrix] if row["functional_rank"] is not None]
        if defined:
            parts.append(_functional_rank(defined, name, len(runs)))
    if not parts:
        return f"{learned}The score does not exceed the baseline, so the functional rank is undefined."
    interval = " (95 % interval over dev examples)" if len(runs) == 1 else ""
    directions = "singular directions" + (", most sensitive first," if orders == {"sensitivity"} else "")
    return (
        f"{learned}The functional rank is {' and '.join(parts)}: this many {directions} keep 95 % of the "
        f"gain over the baseline{interval}."
    )


def _learned(learned: Sequence[bool]) -> str:
    """A sentence about the number of seeds that learned, with its interval; empty for one seed."""
    if len(learned) < 2:
        return ""
    count, n = sum(learned), len(learned)
    low, high = share_interval(count, n)
    return (
        f"{count} of {n} seeds learned, as their score exceeds the baseline ({low:.0%} to {high:.0%}, the "
        "95 % interval of Clopper and Pearson). "
    )


def _functional_rank(rows: Sequence[Row], name: str, n_seeds: int) -> str:
    """The functional rank of one matrix.

    For several seeds, it is the mean over those that learned, with an interval over seeds and examples. Files
    of earlier versions do not contain the ranks of the resamples. Then the sentence gives the lowest and the
    highest limit of the seeds' intervals. This range is not an interval of the mean, and the sentence does
    not call it one.

    Args:
        rows: functional ranks of the seeds that have one.
        name: the name of the matrix.
        n_seeds: the number of all seeds.
    """
    rank = _mean_sd([row["functional_rank"] for row in rows])
    lows, highs = _column(rows, "low"), _column(rows, "high")
    limits = f"{min(lows):.0f}–{max(highs):.0f}" if lows and highs else "no interval"
    defined = min(row.get("defined", 1) for row in rows)
    unsure = f", undefined in {'' if n_seeds == 1 else 'up to '}{1 - defined:.0%} of resamples" * (
        defined < 1
    )
    if n_seeds == 1:
        below = _column(rows, "below")
        if below and rows[0]["functional_rank"] - below[0] > 1:
            rank = f"{below[0] + 1:.0f} to {rank}"
        return f"{rank} ({limits}{unsure}) of {name}"
    which = f"mean of {n_seeds} seeds"
    if len(rows) < n_seeds:
        which = f"mean of the {len(rows)} of {n_seeds} seeds that learned"
    low, high = rank_interval(rows) if len(rows) > 1 else (np.nan, np.nan)
    if not np.isnan(low):
        interval = f"{low:.1f}–{high:.1f}, the 95 % interval over seeds and dev examples"
    else:
        interval = (
            f"{limits} from the lowest to the highest limit of the seeds' own intervals, each of 95 % over "
            "dev examples"
        )
    return f"{rank} of {name} ({which}; {interval}{unsure})"


def _column(rows: Sequence[Row], name: str) -> list[float]:
    """The values of a column that are not missing. Print them with `_seed_count` or `_with_seed_count`."""
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _seed_count(values: Sequence[float], rows: Sequence[Any]) -> str:
    return f"{len(rows)} seeds" if len(values) == len(rows) else f"{len(values)} of {len(rows)} seeds"


def _with_seed_count(values: Sequence[float], rows: Sequence[Any]) -> str:
    """`_mean_sd`, followed by the number of seeds if some seeds have no value."""
    return _mean_sd(values) + (f" ({_seed_count(values, rows)})" if len(values) < len(rows) else "")


def _diverged_twins(rows: Sequence[Row], name: str) -> int:
    """The number of runs whose noise twin diverged: the run has the reading, and the twin's is null."""
    twin = f"twin_{name}"
    return sum(row.get(name) is not None and twin in row and row[twin] is None for row in rows)


def _mean(values: Any) -> str:
    mean = float(np.mean(values))
    return f"{mean:.0f}" if mean.is_integer() else f"{mean:.1f}"


def _mean_sd(values: Sequence[float]) -> str:
    """The mean, with the sample standard deviation if there are several values."""
    if len(values) < 2:
        return _mean(values)
    return f"{_mean(values)} ± {np.std(values, ddof=1):.1f}"
