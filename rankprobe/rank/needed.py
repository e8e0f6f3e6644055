"""The decision rule of the needed rank: do prompts of rank k keep most of a gain, by a lower bound?"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike
from scipy import stats

KEPT_SHARE = 0.95
"""Share of the gain over the baseline that a needed rank keeps."""

CONFIDENCE = 0.95
"""Of the one-sided lower bound."""

WORST = -1.0
"""The least difference between two scores of 0 to 1, or of `kept_margin`."""


@dataclass(frozen=True)
class Bound:
    """A mean over seeds and rows, with its one-sided lower bound.

    Attributes:
        mean: the plain mean.
        lower: the bound; see `lower_bound`.
        se, df: the standard error and the degrees of freedom of the bound.
        n_seeds, n_units: what was averaged; the rows of one question are one unit.
    """

    mean: float
    lower: float
    se: float
    df: float
    n_seeds: int
    n_units: int


def kept_margin(
    candidate: Float[np.ndarray, "seeds rows"],
    vanilla: Float[np.ndarray, "seeds rows"],
    baseline: Float[np.ndarray, " rows"],
    share: float = KEPT_SHARE,
) -> Float64[np.ndarray, "seeds rows"]:
    """By how much a candidate exceeds a share of the gain of vanilla on each row: c − b − share · (v − b).

    The mean is at least 0 exactly if the candidate keeps that share of the gain. Scores are 0 to 1.
    """
    c, v, b = (np.asarray(each, dtype=np.float64) for each in (candidate, vanilla, baseline))
    return c - b - share * (v - b)


def lower_bound(
    differences: ArrayLike, groups: Sequence[Hashable] | None = None, confidence: float = CONFIDENCE
) -> Bound:
    """The one-sided lower bound of a mean over seeds and rows, where both are random samples.

    Each difference compares two prompts of one seed on one row, so the rows are paired. With unit means
    x_su of seed s and question u (a row without a group is a question), the model is
    x_su = μ + seed_s + question_u + rest_su, and the estimate is the mean over all. Its variance is
    estimated by

        V = V_u + V_s,  V_u = var_u(mean over s) / U,  V_s = var_s(mean over u) / S,

    which is on average too large by the variance of the rest, divided by S · U: the bound is on the safe
    side. The bound is mean − t · √V, with the t quantile at the degrees of freedom of Satterthwaite (1946),
    V² / (V_u² / (U − 1) + V_s² / (S − 1)).

    Before that, one more question is added, on which every seed has the least possible difference, −1.
    Without it the bound is wrong where hardly any row tells the prompts apart: if none of 28 rows does, V is
    close to 0, yet one row in ten may do so beyond the sample. With it, the bound is close to the exact one
    of Clopper and Pearson (see `tests/rank/test_needed.py`).

    With one seed V_s is unknown and left out. The bound then holds for this seed, and says nothing about
    others.

    Source: the model of crossed random effects, as in Owen (2007), "The pigeonhole bootstrap".

    >>> bound = lower_bound([[0, 1, 1, 1], [0, 1, 1, 0]])
    >>> round(bound.mean, 3), bound.lower < 0
    (0.625, True)

    Args:
        differences: (seeds, rows), each −1 to 1.
        groups: the question of each row, which weighs as much as any other; None: each row is a question.
        confidence: of the bound.
    """
    x = np.asarray(differences, dtype=np.float64)
    units = x if groups is None else _unit_means(x, groups)
    n_seeds, n_units = units.shape
    with_worst = np.hstack([units, np.full((n_seeds, 1), WORST)])
    by_unit, by_seed = with_worst.mean(axis=0), with_worst.mean(axis=1)
    of_units = float(by_unit.var(ddof=1)) / len(by_unit)
    of_seeds = float(by_seed.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    total = of_units + of_seeds
    spread = of_units**2 / n_units + (of_seeds**2 / (n_seeds - 1) if n_seeds > 1 else 0.0)
    df = total**2 / spread if spread > 0 else math.inf
    se = math.sqrt(total)
    lower = float(with_worst.mean()) - float(stats.t.ppf(confidence, df)) * se
    return Bound(float(units.mean()), lower, se, df, n_seeds, n_units)


def _unit_means(
    x: Float64[np.ndarray, "seeds rows"], groups: Sequence[Hashable]
) -> Float64[np.ndarray, "seeds units"]:
    """The mean over the rows of each question."""
    order = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    unit = np.array([order[group] for group in groups])
    sums = np.zeros((len(x), len(order)))
    np.add.at(sums.T, unit, x.T)
    return sums / np.bincount(unit)


def least_certified_k(certified: Callable[[int], bool], max_k: int) -> dict[int, bool]:
    """Search the least k from 1 to `max_k` that is certified, by bisection on a logarithmic scale.

    `max_k` counts as certified without a test. The search takes it that a larger k is certified wherever a
    smaller one is: a prompt of rank k is also one of rank k + 1. The next k is the geometric mean of the
    largest k that is known not to be certified (at first 1, untested) and the least that is, because small k
    are more likely.

    Returns:
        The tested k in the order of the tests. The least certified k is the result; k − 1, if it is not 0,
        was tested and is not certified.
    """
    tested: dict[int, bool] = {}
    below, least = 0, max_k
    while least - below > 1:
        k = min(max(math.isqrt(max(below, 1) * least), below + 1), least - 1)
        tested[k] = certified(k)
        below, least = (below, k) if tested[k] else (k, least)
    return tested
