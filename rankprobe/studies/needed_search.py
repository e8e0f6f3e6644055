"""The search of the needed rank: for each k, the chosen prompt and the decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from rankprobe.errors import RankprobeError
from rankprobe.rank import (
    KEPT_SHARE,
    Bound,
    kept_margin,
    least_certified_k,
    lower_bound,
    rows_for_a_proof,
    share_interval,
)
from rankprobe.runs.task_rank import DecisionRow, TryRow


@dataclass(frozen=True)
class Try:
    """A prompt of rank k that was tried.

    Attributes:
        k: its rank is at most k.
        kind: `cut`, `healed` or `scratch`.
        seed: of the vanilla prompt that it was cut from, or of its training.
        selection: mean score on the selection half, 0 to 1; NaN if its training failed.
        report: the score of each row of the report half, 0 to 1; of a failed training the baseline's.
        learning_rate: of its training, or None.
        start: the number of the random start, or None.
        run_id: its run, or None if it was not trained.
    """

    k: int
    kind: str
    seed: int
    selection: float
    report: Float[np.ndarray, " rows"] = field(repr=False)
    learning_rate: float | None = None
    start: int | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Reference:
    """What the tries are compared with, on the report half; all scores are 0 to 1.

    A row is a question here: the mean over its rows, where several share one.

    Attributes:
        seeds: one for each vanilla prompt.
        vanilla: the scores of the vanilla prompts.
        baseline: those of the best constant answer.
        share: of the gain, which a try has to keep.
    """

    seeds: tuple[int, ...]
    vanilla: Float[np.ndarray, "seeds rows"]
    baseline: Float[np.ndarray, " rows"]
    share: float = KEPT_SHARE

    def margin(self, scores: Float[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
        """By how much scores exceed the level, a share of the mean gain of the vanilla prompts."""
        return kept_margin(scores, self.vanilla.mean(axis=0), self.baseline, self.share)


@dataclass(frozen=True)
class Search:
    """The outcome of a search: the least certified k, the decision at each tested k, and all tries."""

    needed_rank: int
    decisions: list[DecisionRow]
    tries: list[TryRow]


def checked_gain(reference: Reference) -> Bound:
    """The gain of vanilla over the baseline, where prompts can be compared with it.

    Raises:
        RankprobeError: its lower bound is not above 0, over rows and seeds as random samples; or the rows are
            so few that not even the vanilla prompts themselves would be certified.
    """
    gain = lower_bound(reference.vanilla - reference.baseline)
    n_seeds, n_rows = reference.vanilla.shape
    counted = f"{n_rows} questions, {n_seeds} seed{'s' * (n_seeds != 1)}"
    if gain.lower <= 0:
        raise RankprobeError(
            f"vanilla has no certain gain over the baseline ({100 * gain.mean:+.1f} points, lower bound "
            f"{100 * gain.lower:+.1f}, {counted}), so there is no needed rank; train longer, or "
            "give more dev data or seeds"
        )
    itself = reference.margin(reference.vanilla.mean(axis=0))
    if (bound := lower_bound(itself[None])).lower < 0:
        enough = rows_for_a_proof(itself)
        data = f"about {2 * enough} dev questions, of which half count" if enough else "more dev data"
        raise RankprobeError(
            f"{n_rows} questions are too few: the bound of vanilla itself is {100 * bound.lower:+.1f} (gain "
            f"{100 * gain.mean:.1f} points), so no rank would be certified; give {data}, or a lower --share"
        )
    return gain


def search(
    tries_of: Callable[[int], Sequence[Try]],
    reference: Reference,
    max_k: int,
    report: Callable[[DecisionRow], None] = lambda row: None,
) -> Search:
    """The least k at which the chosen prompt keeps a share of vanilla's gain, by a lower bound.

    Of all tries of rank k or less, the one with the best score on the selection half is chosen (the first of
    equal ones, those of rank k before the others). Its scores on the report half are compared with the means
    over the vanilla prompts, row by row: the mean of `rank.kept_margin` has the one-sided lower bound of
    `rank.lower_bound` over rows. So the vanilla prompts are taken as they are, and the result is about the
    existence of a prompt of rank k.

    The bound holds for each test, with 95 %. The search is several tests, so it may end too low by chance:
    where every try of every k loses exactly 5 % of the gain, about one search in ten does (250 rows, nine
    tries per k; `tests/studies/test_task_rank.py`).

    k = `max_k` is not tested: the vanilla prompts themselves have this rank.

    Args:
        tries_of: returns the tries of one k, one or more.
        reference: what they are compared with.
        max_k: min(n, d).
        report: called after each test.
    """
    decisions: list[DecisionRow] = []
    rows: list[TryRow] = []
    found: list[Try] = []

    def certified(k: int) -> bool:
        own = list(tries_of(k))
        row, tried = decide(k, [*own, *(one for one in found if one.k < k)], reference)
        found.extend(own)
        decisions.append(row)
        rows.extend(tried)
        report(row)
        return row.certified

    tested = least_certified_k(certified, max_k)
    needed = min([max_k, *(k for k, passed in tested.items() if passed)])
    return Search(needed, sorted(decisions, key=lambda row: row.k), sorted(rows, key=lambda row: row.k))


def decide(k: int, tries: Sequence[Try], reference: Reference) -> tuple[DecisionRow, list[TryRow]]:
    """The decision at one k from tries of rank k or less, and a row for each try of rank k; see `search`.

    A try has reached the level if it keeps the share of the gain on the report half, without a bound. The
    number of those of rank k has the interval of Clopper and Pearson, as if tries were independent draws from
    the same recipes.
    """
    chosen = max(tries, key=lambda one: np.nan_to_num(one.selection, nan=-1.0))
    bound = lower_bound(reference.margin(chosen.report)[None])
    own = [one for one in tries if one.k == k]
    # Margins are means of many numbers, so a margin of 0 may differ in the last bit.
    reached = [
        bool(not np.isnan(one.selection) and reference.margin(one.report).mean() >= -1e-9) for one in own
    ]
    low, high = share_interval(sum(reached), len(own))
    test = DecisionRow(
        k=k,
        chosen_rank=chosen.k,
        score=100 * float(chosen.report.mean()),
        margin=100 * bound.mean,
        lower=100 * bound.lower,
        certified=bound.lower >= 0,
        tries=len(own),
        reached=sum(reached),
        rate_low=low,
        rate_high=high,
    )
    return test, [_row(one, passed, one is chosen) for one, passed in zip(own, reached, strict=True)]


NAMES = ("k", "kind", "seed", "learning_rate", "start", "run_id")


def _row(one: Try, reached: bool, chosen: bool) -> TryRow:
    failed = bool(np.isnan(one.selection))
    values: dict[str, Any] = {name: getattr(one, name) for name in NAMES}
    return TryRow(
        **values,
        selection=None if failed else 100 * one.selection,
        report=None if failed else 100 * float(one.report.mean()),
        reached=reached,
        chosen=chosen,
    )
