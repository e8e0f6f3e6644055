"""Decides whether a reading differs from its null."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.01
"""Significance level: how often a reading that equals its null is called distinguishable. It is one percent,
because a report contains dozens of readings."""

MIN_DIFFERENCE = 1.0
"""A difference of means below one rank does not count, because most readings are whole numbers."""

MIN_RATIO, MIN_GAP = 2.0, 10.0
"""How much a single run must differ from a single null: a ratio, and a number of ranks."""

NOT_DISTINGUISHABLE = "not distinguishable from the null"


@dataclass(frozen=True)
class Verdict:
    """A reading compared with its null.

    Attributes:
        mean: mean of the values of the reading that are not NaN; NaN if there are none.
        null_mean: the same for the null.
        null_spread: standard deviation of the null over seeds (n - 1); NaN for fewer than two values.
        effect: (mean - null_mean) / null_spread; ±∞ if the null does not vary and the means differ, NaN if
            the spread is unknown.
        distinguishable: see `verdict`.
        words: the result in words, for a report.
    """

    mean: float
    null_mean: float
    null_spread: float
    effect: float
    distinguishable: bool
    words: str


def verdict(values: ArrayLike, null: ArrayLike) -> Verdict:
    """Test whether a reading differs from its null, over seeds.

    With three or more values in total, the test is Student's two-sample t test with pooled variance,
    two-sided, at the level of 1 %; in addition, the means must be at least one rank apart. The variance is
    pooled because under the null hypothesis both sides are samples of one distribution. Pooling also allows a
    single value on one side.

    With one value on each side the spread is unknown and no test exists. The rule is conservative: the larger
    value is at least twice the smaller, and they are at least ten apart. In `studies.calibration`, for runs
    on pure noise against the twins of other seeds, this rule distinguishes one pair in a thousand, and at
    most 4 % for any one reading.

    NaN is an undefined reading, for example the functional rank of a prompt without any gain. NaN values are
    dropped. If no value is left on one side, the result is not distinguishable.

    >>> verdict([3, 14, 8], [12, 5, 10]).words
    'not distinguishable from the null'
    >>> verdict([63], [9]).words
    'above the null (one seed: spread unknown)'

    Args:
        values: the reading, one value per seed: (seeds,).
        null: the null, for example the noise twin of each seed, or runs on shuffled labels: (seeds,).
    """
    a, b = _without_nan(values), _without_nan(null)
    mean, null_mean, null_spread = _mean(a), _mean(b), _spread(b)
    if not (len(a) and len(b)):
        words = "the null has no value" if len(a) else "undefined"
        return Verdict(mean, null_mean, null_spread, math.nan, False, words)
    is_single = len(a) == len(b) == 1
    differs = _singles_differ(mean, null_mean) if is_single else _means_differ(a, b)
    side = "above the null" if mean > null_mean else "below the null"
    words = (side if differs else NOT_DISTINGUISHABLE) + (" (one seed: spread unknown)" if is_single else "")
    return Verdict(mean, null_mean, null_spread, _effect(mean - null_mean, null_spread), differs, words)


def _means_differ(a: Float64[np.ndarray, " seeds_a"], b: Float64[np.ndarray, " seeds_b"]) -> bool:
    # `ttest_ind` on the values gives the same p, but warns of a loss of precision if the values do not vary.
    (mean_a, std_a, n_a), (mean_b, std_b, n_b) = (
        (side.mean(), side.std(ddof=1) if len(side) > 1 else 0.0, len(side)) for side in (a, b)
    )
    p = stats.ttest_ind_from_stats(mean_a, std_a, n_a, mean_b, std_b, n_b, equal_var=True).pvalue
    return bool(p <= LEVEL and abs(mean_a - mean_b) >= MIN_DIFFERENCE)


def _singles_differ(value: float, null: float) -> bool:
    low, high = sorted((value, null))
    return high - low >= MIN_GAP and high >= MIN_RATIO * low


def _effect(difference: float, spread: float) -> float:
    if spread == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / spread


def _without_nan(values: ArrayLike) -> Float64[np.ndarray, " seeds"]:
    array = np.asarray(values, dtype=np.float64)
    return array[~np.isnan(array)]


def _mean(values: Float64[np.ndarray, " seeds"]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _spread(values: Float64[np.ndarray, " seeds"]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
