"""The decision rule of the needed rank: do prompts of rank k keep most of a gain, by a lower bound?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike

KEPT_SHARE = 0.95
"""Share of the gain over the baseline that a needed rank keeps."""

MOST_ROWS = 100_000
"""`rows_for_a_proof` looks no further."""

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
        n_seeds, n_rows: what was averaged.
    """

    mean: float
    lower: float
    se: float
    df: float
    n_seeds: int
    n_rows: int


def kept_margin(
    candidate: Float[np.ndarray, "*batch rows"],
    vanilla: Float[np.ndarray, "*batch rows"],
    baseline: Float[np.ndarray, " rows"],
    share: float = KEPT_SHARE,
) -> Float64[np.ndarray, "*batch rows"]:
    """By how much a candidate exceeds a share of the gain of vanilla on each row: c − b − share · (v − b).

    The mean is at least 0 exactly if the candidate keeps that share of the gain. Scores are 0 to 1.
    """
    c, v, b = (np.asarray(each, dtype=np.float64) for each in (candidate, vanilla, baseline))
    return c - b - share * (v - b)


def lower_bound(differences: ArrayLike, confidence: float = CONFIDENCE) -> Bound:
    """The one-sided lower bound of a mean over rows, or over seeds and rows where both are random samples.

    With the values x_su of seed s on row u, the model is x_su = μ + seed_s + row_u + rest_su, and the
    estimate is the mean over all. Its variance is estimated by

        V = V_u + V_s,  V_u = var_u(mean over s) / U,  V_s = var_s(mean over u) / S,

    which is on average too large by the variance of the rest, divided by S · U: the bound is on the safe
    side. The bound is mean − t · √V, with the t quantile at the degrees of freedom of Satterthwaite (1946),
    V² / (V_u² / (U − 1) + V_s² / (S − 1)).

    Before that, one more row is added, on which every seed has the least possible difference, −1. Without it
    the bound is wrong where hardly any row tells the prompts apart: if none of 28 rows does, V is close to 0,
    yet one row in ten may do so beyond the sample. With it, the bound is close to the exact one of Clopper
    and Pearson (see `tests/rank/test_needed.py`).

    With one seed V_s is unknown and left out. The bound then holds for this seed, and says nothing about
    others.

    Source: the model of crossed random effects, as in Owen (2007), "The pigeonhole bootstrap".

    >>> bound = lower_bound([[0, 1, 1, 1], [0, 1, 1, 0]])
    >>> round(bound.mean, 3), bound.lower < 0
    (0.625, True)

    Args:
        differences: (seeds, rows), each −1 to 1. The rows must be independent.
        confidence: of the bound.
    """
    x = np.asarray(differences, dtype=np.float64)
    n_seeds, n_rows = x.shape
    with_worst = np.hstack([x, np.full((n_seeds, 1), WORST)])
    by_row, by_seed = with_worst.mean(axis=0), with_worst.mean(axis=1)
    of_rows = float(by_row.var(ddof=1)) / len(by_row)
    of_seeds = float(by_seed.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    total = of_rows + of_seeds
    spread = of_rows**2 / n_rows + (of_seeds**2 / (n_seeds - 1) if n_seeds > 1 else 0.0)
    df = total**2 / spread if spread > 0 else math.inf
    se = math.sqrt(total)
    lower = float(with_worst.mean()) - float(scipy.stats.t.ppf(confidence, df)) * se
    return Bound(float(x.mean()), lower, se, df, n_seeds, n_rows)


def rows_for_a_proof(margins: Float[np.ndarray, " rows"]) -> int | None:
    """About how many rows like these it takes for a lower bound of their mean of at least 0.

    None where the mean is not above 0, or beyond `MOST_ROWS`.
    """
    rows = len(margins)
    while margins.mean() > 0 and rows < MOST_ROWS:
        if lower_bound(np.resize(margins, (1, rows))).lower >= 0:
            return rows
        rows = math.ceil(1.1 * rows)
    return None


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
