"""Intervals of 95 % over seeds: of a share of runs, and of a mean over runs that learned."""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float

DRAWS = 2000


def share_interval(count: int, n: int) -> tuple[float, float]:
    """The interval of the share of runs with some outcome, 0 to 1, when `count` of `n` runs had it.

    Source: Clopper and Pearson (1934). It contains the true share in at least 95 % of all cases.

    >>> [round(limit, 2) for limit in share_interval(2, 3)]
    [0.09, 0.99]

    Args:
        count: 0 to n.
        n: at least 1.
    """
    low, high = scipy.stats.binomtest(count, n).proportion_ci(method="exact")
    return float(low), float(high)


def mean_interval(resampled: Float[np.ndarray, "seeds resamples"], seed: int = 0) -> tuple[float, float]:
    """The interval of a mean over seeds, by bootstrap over seeds and examples.

    Each draw takes as many seeds as there are, with replacement, and one resample of the examples. All drawn
    seeds share the resample, because they were scored on the same examples: an example that is hard for one
    is hard for all, and resampling it for each seed alone would make the interval too narrow. Source: Owen
    (2007), "The pigeonhole bootstrap". With few seeds the interval is too narrow nevertheless: two seeds
    show little of how much seeds differ.

    Args:
        resampled: the value of each seed in each resample of the examples, the same resamples for all. A NaN
            is left out of the mean; a mean without values, or an array of NaN alone, has no interval.
        seed: of the draws.

    Returns:
        The limits; NaN without any value.
    """
    rng = np.random.default_rng(seed)
    n_seeds, n_resamples = resampled.shape
    seeds = rng.integers(n_seeds, size=(DRAWS, n_seeds))
    drawn = resampled[seeds, rng.integers(n_resamples, size=(DRAWS, 1))]
    known = ~np.isnan(drawn)
    has_value = known.any(axis=1)
    if not has_value.any():
        return float("nan"), float("nan")
    means = np.where(known, drawn, 0).sum(axis=1)[has_value] / known.sum(axis=1)[has_value]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
