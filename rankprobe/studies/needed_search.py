"""The search of the needed rank: for each k, the chosen prompt of each seed and the decision."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from rankprobe.errors import RankprobeError
from rankprobe.rank import Bound, kept_margin, least_certified_k, lower_bound, share_interval
from rankprobe.runs.task_rank import DecisionRow, TryRow


@dataclass(frozen=True)
class Try:
    """A prompt of rank k that was tried.

    Attributes:
        k: its rank is at most k.
        kind: `cut`, `healed` or `scratch`.
        seed: of the vanilla prompt that it is compared with.
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

    Attributes:
        seeds: one for each vanilla prompt.
        vanilla: the scores of the vanilla prompts.
        baseline: those of the best constant answer.
        groups: the question of each row; None: each row is a question.
    """

    seeds: tuple[int, ...]
    vanilla: Float[np.ndarray, "seeds rows"]
    baseline: Float[np.ndarray, " rows"]
    groups: Sequence[Hashable] | None = None

    def gain(self) -> Bound:
        """The gain of vanilla over the baseline."""
        return lower_bound(self.vanilla - self.baseline, self.groups)


@dataclass(frozen=True)
class Search:
    """The outcome of a search: the least certified k, the decision at each tested k, and all tries."""

    needed_rank: int
    decisions: list[DecisionRow]
    tries: list[TryRow]


def checked_gain(reference: Reference) -> Bound:
    """The gain of vanilla over the baseline.

    Raises:
        RankprobeError: its lower bound is not above 0.
    """
    gain = reference.gain()
    if gain.lower <= 0:
        raise RankprobeError(
            f"vanilla does not gain over the baseline ({100 * gain.mean:+.1f} points, lower bound "
            f"{100 * gain.lower:+.1f}, {counted(reference)}), so there is no needed rank; train longer, or "
            "give more dev rows or seeds"
        )
    return gain


def counted(reference: Reference) -> str:
    """The number of rows and seeds, in words."""
    n_seeds, n_rows = reference.vanilla.shape
    n_units = n_rows if reference.groups is None else len(set(reference.groups))
    rows = f"{n_rows} rows" if n_units == n_rows else f"{n_rows} rows of {n_units} questions"
    return f"{rows}, {n_seeds} seed{'s' * (n_seeds != 1)}"


def search(
    tries_of: Callable[[int], Sequence[Try]],
    reference: Reference,
    max_k: int,
    report: Callable[[DecisionRow], None] = lambda row: None,
) -> Search:
    """The least k at which the chosen prompts keep 95 % of vanilla's gain, by a lower bound.

    For each seed, the try with the best score on the selection half is chosen (the first of equal ones). The
    bound is that of `rank.lower_bound` for the mean of `rank.kept_margin` of the chosen prompts on the report
    half, one-sided, 95 % for each k by itself. It holds for each test; a search of m tests may certify a k
    that is too small with a probability of up to m times 5 %.

    k = `max_k` is not tested: the vanilla prompt itself has this rank.

    Args:
        tries_of: returns the tries of one k; each seed has one or more.
        reference: what they are compared with.
        max_k: min(n, d).
        report: called after each test.
    """
    decisions: list[DecisionRow] = []
    rows: list[TryRow] = []

    def certified(k: int) -> bool:
        row, tried = decide(k, list(tries_of(k)), reference)
        decisions.append(row)
        rows.extend(tried)
        report(row)
        return row.certified

    tested = least_certified_k(certified, max_k)
    needed = min([max_k, *(k for k, passed in tested.items() if passed)])
    return Search(needed, sorted(decisions, key=lambda row: row.k), sorted(rows, key=lambda row: row.k))


def decide(k: int, tries: Sequence[Try], reference: Reference) -> tuple[DecisionRow, list[TryRow]]:
    """The decision at one k, and a row for each try; see `search`.

    A try has reached the level if it keeps 95 % of the gain of its seed's vanilla prompt on the report half,
    without a bound. Their number has the interval of Clopper and Pearson, as if tries were independent draws
    from the same recipes.
    """
    vanilla = dict(zip(reference.seeds, reference.vanilla, strict=True))

    def margin(one: Try) -> float:
        own = kept_margin(one.report[None], vanilla[one.seed][None], reference.baseline)
        return lower_bound(own, reference.groups).mean

    chosen = []
    for seed in reference.seeds:
        own = [i for i, one in enumerate(tries) if one.seed == seed]
        chosen.append(max(own, key=lambda i: np.nan_to_num(tries[i].selection, nan=-1.0)))
    scores = np.stack([tries[i].report for i in chosen])
    bound = lower_bound(kept_margin(scores, reference.vanilla, reference.baseline), reference.groups)
    # Margins are means of many numbers, so a margin of 0 may differ in the last bit.
    reached = [bool(not np.isnan(one.selection) and margin(one) >= -1e-9) for one in tries]
    low, high = share_interval(sum(reached), len(tries))
    test = DecisionRow(
        k=k,
        score=100 * float(scores.mean()),
        margin=100 * bound.mean,
        lower=100 * bound.lower,
        certified=bound.lower >= 0,
        tries=len(tries),
        reached=sum(reached),
        rate_low=low,
        rate_high=high,
    )
    return test, [
        _row(one, passed, i in chosen) for i, (one, passed) in enumerate(zip(tries, reached, strict=True))
    ]


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
