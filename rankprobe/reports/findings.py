"""Sentences about the numbers of a run, derived from the numbers by fixed rules."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rankprobe.errors import RankprobeError
from rankprobe.rank import Verdict, share_interval, verdicts
from rankprobe.reports.draws import places
from rankprobe.reports.used import UNCLEAR_GAIN, has_unclear_gain, rank_interval
from rankprobe.runs import Run
from rankprobe.twins import TWINS, twins_of

SIGNS = ("positive", "negative", "zero")

COMPARED = ("n_positive", "P_erank_rv")
"""The readings that have a verdict. The level of 1 % is for both together; see `rank.verdicts`."""

CAVEAT = "Note that"
"""Start of the sentence about random weights, miniature data and wrong labels."""

Row = dict[str, Any]
"""The readings of one run at its last logged step, by column; or one row of its functional ranks."""


def findings(
    runs: Sequence[Run],
    results: Mapping[str, Verdict] | None = None,
    *,
    advise: bool = True,
    which: str = "final",
) -> list[str]:
    """Sentences about one run, or about runs that differ only in their seed.

    The rules:

    - Caveats come first: random weights, our miniature data, shuffled or random labels.
    - The number of positive entries of σ is evidence about rank only if `rank.verdicts` finds it above, or
      below, the numbers of all noise twins. It compares runs with their own twins, at a level of 1 % for all
      readings together, and needs three seeds. A run whose twin diverged is left out for this twin.
    - One run has no verdict. If it has many twins (`twin_draws`), its place among them is given instead.
    - The rank *present* in P is its numerical rank, given with the effective rank of P and of its twins, and
      the verdict on the latter.
    - The rank *used* is the functional rank with its interval, known after `rankprobe truncate`. It is given
      only if the score exceeds the baseline. Seeds that learned are counted, not averaged with the others.
      A rank that is not of the final prompt is called that of the best prompt.
    - If some seeds lack a number, the sentence says how many seeds have it.

    Args:
        runs: the runs.
        results: their verdicts by reading, if other groups share the report (`pooled_verdicts`); None: they
            are computed for these runs alone.
        advise: name the command that measures a functional rank that is not known; False: leave it out, for
            readers who do not have the runs.
        which: the prompt whose functional rank is given, `final` or `best`; see `Run.truncation`.

    Raises:
        RankprobeError: a run has not logged a step.
    """
    rows = [run.readings() for run in runs]
    if not rows or not all(rows):
        raise RankprobeError("a run without a logged step has nothing to report")
    if results is None:
        results = verdicts({name: (values_of(rows, name), twin_values(rows, name)) for name in COMPARED})
    ranked = {name: places(runs[0], rows[0], name) if len(runs) == 1 else [] for name in COMPARED}
    sentences = (
        _caveats(runs[0].manifest),
        _positive_entries(rows, results["n_positive"], ranked["n_positive"]),
        _present_rank(rows, results["P_erank_rv"], ranked["P_erank_rv"]),
        _used_rank(runs, advise, which),
    )
    return [sentence for sentence in sentences if sentence]


REACTS = (
    "Gradients that react to P can do this without a task, so compare with runs on shuffled labels before "
    "you name the task as the reason."
)
"""What a verdict about a run does not say; `studies.null_size` shows why."""


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
    return f"{CAVEAT} {'; '.join(caveats)}." if caveats else ""


def _positive_entries(rows: Sequence[Row], result: Verdict, ranked: Sequence[str]) -> str:
    """The number of positive entries of σ, compared with the noise twins; empty without σ."""
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
    subject, numbers = _twins(rows, "n_positive")
    if not numbers:
        reason = f"{subject} diverged" if subject else "there is no noise twin"
        return f"{sentence}; {reason}, so the count says nothing about rank."
    sentence += f"; {subject} kept {numbers}{_outcome(result, ranked)}"
    if not result.side:
        return f"{sentence}, so the count alone is not evidence of low rank."
    return f"{sentence}. {REACTS}"


def _present_rank(rows: Sequence[Row], result: Verdict, ranked: Sequence[str]) -> str:
    """Numerical and effective rank of P, and the effective rank of the noise twins."""
    names = {"P_numerical_rank": "P has numerical rank", "P_erank_rv": "its effective rank is"}
    parts = [
        f"{words} {_with_seed_count(values, rows)}"
        for name, words in names.items()
        if (values := _column(rows, name))
    ]
    if not parts:
        return ""
    subject, numbers = _twins(rows, "P_erank_rv")
    if numbers:
        owner = "those" if subject == "the twins" else "that"
        return f"{'; '.join(parts)}, {owner} of {subject} {numbers}{_outcome(result, ranked)}."
    return f"{'; '.join(parts)}{f' ({subject} diverged)' if subject else ''}."


def _twins(rows: Sequence[Row], name: str) -> tuple[str, str]:
    """What to call the noise twins of runs, and their readings `name`.

    Returns:
        ("the twins", "45 (Gaussian), 40 (Haar)"), or ("the Gaussian twin", "45") for one kind. Both are empty
        without twins; only the second is if all twins diverged.
    """
    texts = {}
    for kind, column in _twin_columns(rows, name).items():
        values = _column(rows, column)
        n_diverged = sum(row.get(name) is not None and column in row and row[column] is None for row in rows)
        if not (values or n_diverged):
            continue
        note = f"diverged in {n_diverged} of {len(rows)} runs" if n_diverged else ""
        if len(values) < len(rows) and not n_diverged:
            note = _seed_count(values, rows)
        texts[TWINS[kind]] = (_mean_sd(values) if values else "", note)
    if not texts:
        return "", ""
    subject = "the twins" if len(texts) > 1 else f"the {next(iter(texts))}"
    if not any(number for number, _ in texts.values()):
        return subject, ""
    parts = []
    for twin, (number, note) in texts.items():
        remarks = [twin.removesuffix(" twin")] if len(texts) > 1 else []
        remarks += [note] if note else []
        parts.append(f"{number or '–'} ({'; '.join(remarks)})" if remarks else number)
    return subject, ", ".join(parts)


def _outcome(result: Verdict, ranked: Sequence[str]) -> str:
    """The words of a verdict, with the punctuation before them. One twin is named, as it is weak evidence.

    Without a verdict, the places of the reading among many twins follow, as `draws.places` gives them.
    """
    if math.isnan(result.p):
        words = f". {result.words[0].upper()}{result.words[1:]}"
        return f"{words}; it is {', and '.join(ranked)}" if ranked else words
    kinds = list(result.null_means)
    return f": {result.words}" + (f", against the {TWINS[kinds[0]]} alone" if len(kinds) == 1 else "")


def _used_rank(runs: Sequence[Run], advise: bool, which: str) -> str:
    """The functional ranks of P and ΔP, or the command that measures them."""
    results = [(run, run.truncation(which=which)) for run in runs]
    unmeasured = [shlex.quote(str(run.path)) for run, truncation in results if truncation is None]
    if unmeasured and not advise:
        return "The functional rank, the rank that is used, was not measured."
    if unmeasured:
        return f"The functional rank is not known yet; measure it: rankprobe truncate {' '.join(unmeasured)}"
    ranks = [row for _, truncation in results if truncation for row in truncation["functional_rank"]]
    orders = {row["order"] for row in ranks}
    prompts = {row.get("prompt", "final") for row in ranks}
    for found, words in ((orders, "orders of directions"), (prompts, "prompts")):
        if len(found) > 1:
            paths = " ".join(shlex.quote(str(run.path)) for run in runs)
            return (
                f"The functional ranks of the seeds are of different {words}; measure them alike: "
                f"rankprobe truncate {paths}"
            )
    subject = "functional rank" + (" of the best prompt" if prompts == {"best"} else "")
    by_matrix = {name: [row for row in ranks if row["matrix"] == name] for name in ("P", "dP")}
    learned = _learned([row["functional_rank"] is not None for row in by_matrix["P"]])
    parts = []
    for matrix, name in (("P", "P"), ("dP", "ΔP (added to P0)")):
        defined = [row for row in by_matrix[matrix] if row["functional_rank"] is not None]
        if defined:
            parts.append(_functional_rank(defined, name, len(runs)))
    if not parts:
        return f"{learned}The score does not exceed the baseline, so the {subject} is undefined."
    caution = f" {UNCLEAR_GAIN}" if has_unclear_gain(by_matrix["P"]) else ""
    interval = " (95 % interval over dev examples)" if len(runs) == 1 else ""
    directions = "singular directions" + (", most sensitive first," if orders == {"sensitivity"} else "")
    return (
        f"{learned}The {subject} is {' and '.join(parts)}: this many {directions} keep 95 % of the "
        f"gain over the baseline{interval}.{caution}"
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


def values_of(rows: Sequence[Row], name: str) -> list[float]:
    """The values of a column, one per run; NaN where it is missing."""
    return [math.nan if row.get(name) is None else float(row[name]) for row in rows]


def _twin_columns(rows: Sequence[Row], name: str) -> dict[str, str]:
    """The column of the reading `name` of each kind of twin that some run has."""
    return twins_of({column for row in rows for column in row}, name)


def twin_values(rows: Sequence[Row], name: str) -> dict[str, list[float]]:
    """The values of the reading `name` of each kind of twin; NaN where it is missing."""
    return {kind: values_of(rows, column) for kind, column in _twin_columns(rows, name).items()}


def _mean(values: Any) -> str:
    mean = float(np.mean(values))
    return f"{mean:.0f}" if mean.is_integer() else f"{mean:.1f}"


def _mean_sd(values: Sequence[float]) -> str:
    """The mean, with the sample standard deviation if there are several values."""
    if len(values) < 2:
        return _mean(values)
    return f"{_mean(values)} ± {np.std(values, ddof=1):.1f}"
