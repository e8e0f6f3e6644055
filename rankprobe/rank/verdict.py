"""Does a reading say more than its null?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.01
"""How often a reading that is its null may be called distinguishable. One in a hundred, since a report holds
dozens of readings."""

LEAST = 1.0
"""A difference of less than one rank is none: most readings are whole numbers."""

FACTOR, APART = 2.0, 10.0
"""What a single run has to differ by from a single null: a factor, and a number of ranks."""

UNTOLD = "not distinguishable from the null"


@dataclass(frozen=True)
class Verdict:
    """A reading beside its null.

    Attributes:
        mean: of the values that are defined; NaN without any.
        null_mean: of the null's.
        null_spread: standard deviation of the null over seeds (n − 1); NaN of fewer than two.
        effect: (mean − null_mean) / null_spread; ±∞ where the null does not vary and the means differ, NaN
            where the spread is unknown.
        distinguishable: see `verdict`.
        words: the same, for a report.
    """

    mean: float
    null_mean: float
    null_spread: float
    effect: float
    distinguishable: bool
    words: str


def verdict(values: Sequence[float], null: Sequence[float]) -> Verdict:
    """Whether values of a reading over seeds could be further values of its null.

    The rule, from three values on, both sides together: Student's two-sample t on means, variance pooled,
    at the level of 1 %, two-sided; and means at least one rank apart. Pooled, because under the question's
    hypothesis both sides are draws of one distribution; that also lets one side have a single value.

    One value against one: the spread is unknown and no test exists. The conservative rule: one of them is at
    least twice the other, and they are at least ten apart. Of runs on noise alone in `training.calibrate`
    against the twins of other seeds, a thousandth is told apart by it, of no reading more than 4 %.

    NaN is a reading that is undefined, such as the functional rank of a prompt that gains nothing. It is
    dropped, and if nothing is left on a side, nothing is distinguished.

    >>> verdict([3, 14, 8], [12, 5, 10]).words
    'not distinguishable from the null'
    >>> verdict([63], [9]).words
    'above the null (one seed: spread unknown)'

    Args:
        values: of the reading, one per seed.
        null: of the null, such as the noise twin of each seed or runs on shuffled labels.
    """
    a, b = _defined(values), _defined(null)
    if not (len(a) and len(b)):
        words = "the null has no value" if len(a) else "undefined"
        return Verdict(_mean(a), _mean(b), _spread(b), math.nan, False, words)
    difference = _mean(a) - _mean(b)
    single = len(a) == len(b) == 1
    apart = _singles_apart(_mean(a), _mean(b)) if single else _means_apart(a, b)
    side = "above the null" if difference > 0 else "below the null"
    words = (side if apart else UNTOLD) + (" (one seed: spread unknown)" if single else "")
    return Verdict(_mean(a), _mean(b), _spread(b), _effect(difference, _spread(b)), apart, words)


def _means_apart(a: np.ndarray, b: np.ndarray) -> bool:
    freedom = len(a) + len(b) - 2
    pooled = (np.square(a - a.mean()).sum() + np.square(b - b.mean()).sum()) / freedom
    needed = stats.t.isf(LEVEL / 2, freedom) * math.sqrt(pooled * (1 / len(a) + 1 / len(b)))
    return bool(abs(a.mean() - b.mean()) >= max(needed, LEAST))


def _singles_apart(value: float, null: float) -> bool:
    low, high = sorted((value, null))
    return high - low >= APART and high >= FACTOR * low


def _effect(difference: float, spread: float) -> float:
    if spread == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / spread


def _defined(values: Sequence[float]) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    return found[~np.isnan(found)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
