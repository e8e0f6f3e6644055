"""Decides whether a reading differs from its nulls.

Why paired t tests, and no mixed model: each seed gives one value of the reading and one of each null, so a
comparison has n differences. With an intercept per seed, a mixed model of these data tests the same mean
difference with the same standard error and degrees of freedom as the paired t test. One model of all nulls
would also assume that all differences have one variance. A mixed model has more to give where a seed has
several values; but its degrees of freedom are then approximations, and with 3 to 8 seeds they decide. The
critical values of t are exact if the differences are normal; `studies.null_size` measures the level without
this assumption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy  # its packages are loaded at their first use, not before each command
from jaxtyping import Float64
from numpy.typing import ArrayLike

from rankprobe.errors import RankprobeError
from rankprobe.twins import MIN_DRAWS

LEVEL = 0.01
"""Level of all tests: the expected share of false verdicts among the "above" and "below" of one report."""

POWER = 0.8
"""Probability with which the least detectable effect is found."""

MIN_SEEDS = 3
"""With fewer seeds there is no verdict: two differences do not show how much differences vary."""

MIN_DIFFERENCE = 1.0
"""A difference of means below one rank does not count, because most readings are whole numbers."""

ROUNDING = 1 / 12
"""The least variance of differences of whole numbers: that of a rounding error.

Without it, three seeds with the same difference would be certain, and counts have such seeds by chance.
"""

MARGIN, MARGIN_SHARE = 1.0, 0.1
"""A reading is called equal to its nulls only within one rank, or within 10 % of the nulls' means."""


@dataclass(frozen=True)
class Difference:
    """The mean of reading - null, and its confidence interval.

    Attributes:
        mean: NaN without a value.
        low, high: the interval, at the level 1 - `LEVEL`; NaN for fewer than two seeds.
        seeds: number of values; for an unpaired null, the smaller number of the two sides.
    """

    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Verdict:
    """A reading compared with its nulls; see `verdict`.

    Attributes:
        mean: mean of the values of the reading that are not NaN; NaN if there are none.
        null_means: the same for each null.
        differences: the reading minus each null.
        p: of the reading alone; NaN without a test.
        p_adjusted: adjusted for the number of readings by `verdicts`; NaN without a test.
        least_detectable: the least detectable effect, in ranks; NaN without a test.
        margin: the smallest margin within which the reading equals all nulls; NaN without a test.
        side: `above` or `below` all nulls; empty if neither is shown.
        words: the result in words, for a report.
    """

    mean: float
    null_means: dict[str, float]
    differences: dict[str, Difference]
    p: float
    p_adjusted: float
    least_detectable: float
    margin: float
    side: str
    words: str

    @property
    def distinguishable(self) -> bool:
        return bool(self.side)


Reading = tuple[ArrayLike, Mapping[str, ArrayLike]]
"""The values of a reading and of its nulls, as arguments of `verdict`."""


def verdict(values: ArrayLike, nulls: Mapping[str, ArrayLike], *, paired: bool = True) -> Verdict:
    """Test whether a reading differs from all its nulls, over seeds.

    The reading is above its nulls, or below them, if all nulls agree: for each null, Student's t test of the
    differences (two-sided) has p ≤ `LEVEL` with the same sign, and the means differ by at least one rank.
    This is an intersection-union test (Berger 1982): p of the reading is the largest p of its nulls, and 1 if
    their signs differ. The level holds if one null or more behaves as the reading does without a task;
    `studies.null_size` measures that.

    Otherwise the words give the *least detectable effect*: the difference that the test finds with a
    probability of 80 %, at the spread and number of seeds of these values (noncentral t; at least one rank;
    the largest over nulls). They say "equal within m" if two one-sided tests (Schuirmann 1987), each at
    `LEVEL`, show for every null that the means differ by less than m, and m is at most one rank or 10 % of
    the smallest mean of a null, whichever is larger. m is not adjusted for the number of readings.

    NaN is an undefined reading, for example that of a twin that diverged. A pair with a NaN is dropped. With
    fewer than three pairs for any null there is no verdict.

    >>> verdict([3, 14, 8], {"gaussian": [12, 5, 10]}).words
    'not distinguishable from its null (least detectable effect 66.4)'
    >>> verdict([63, 60, 64, 61], {"gaussian": [9, 8, 11, 10], "haar": [14, 11, 12, 12]}).words
    'above its nulls'
    >>> verdict([63], {"gaussian": [9]}).words
    'one seed: no verdict'

    Args:
        values: the reading, one value per seed: (seeds,).
        nulls: the values of each null, for example of each kind of twin: (seeds,), in the order of `values`.
        paired: value i of a null belongs to value i of the reading (same seed). If not, for example for runs
            on shuffled labels with other seeds, the lengths may differ, and the test is Student's two-sample
            t test with pooled variance.

    Raises:
        RankprobeError: paired, but the numbers of values differ.
    """
    return verdicts({"reading": (values, nulls)}, paired=paired)["reading"]


def verdicts(readings: Mapping[str, Reading], *, paired: bool = True) -> dict[str, Verdict]:
    """The verdicts on all readings of one report, by name.

    As `verdict`, but p is adjusted for the number of readings by the rule of Benjamini and Hochberg (1995):
    of the readings called above or below, a share of at most `LEVEL` is expected to be false. Readings
    without a test do not count.

    Raises:
        RankprobeError: as `verdict`.
    """
    tests = {name: _Test.of(values, nulls, paired) for name, (values, nulls) in readings.items()}
    p = np.array([test.p for test in tests.values()])
    tested = ~np.isnan(p)
    adjusted = np.full(len(p), np.nan)
    if tested.any():
        adjusted[tested] = scipy.stats.false_discovery_control(p[tested])
    return {name: test.verdict(float(q)) for (name, test), q in zip(tests.items(), adjusted, strict=True)}


@dataclass(frozen=True)
class Place:
    """The place of a run's reading among its twins; see `place`."""

    p: float
    words: str


def place(value: float, draws: ArrayLike, name: str = "twins") -> Place:
    """Compare the reading of one run with at least twenty twins of this run that differ in their noise.

    The test is the Monte Carlo test (Barnard 1963): two-sided p = 2 (1 + k) / (1 + R), at most 1, with the
    number k of draws at least as extreme as the reading, on the side where they are fewer. It says nothing
    about other seeds, so it is no verdict.

    >>> place(30, range(20), "Gaussian twins").words
    'larger than all 20 Gaussian twins, two-sided p = 0.095'

    Args:
        value: the reading.
        draws: the readings of the twins, (R,); NaN is dropped.
        name: what the draws are, in the plural.

    Raises:
        RankprobeError: fewer than twenty draws.
    """
    null = _without_nan(np.asarray(draws, dtype=np.float64))
    if len(null) < MIN_DRAWS:
        raise RankprobeError(f"{len(null)} {name} are too few; expected at least {MIN_DRAWS}")
    below, above = int((null < value).sum()), int((null > value).sum())
    p = min(1.0, 2 * (1 + len(null) - max(below, above)) / (1 + len(null)))
    extremes = {len(null) == below: "larger than all", len(null) == above: "smaller than all"}
    where = extremes.get(True, f"larger than {below} of")
    return Place(p, f"{where} {len(null)} {name}, two-sided p = {p:.2g}")


@dataclass(frozen=True)
class _Test:
    """The tests of one reading against each of its nulls; arrays are over nulls, (nulls,).

    Attributes:
        mean, null_means: as in `Verdict`.
        seeds: numbers of values, as in `Difference`.
        difference: means of reading - null.
        error: standard errors of `difference`.
        df: degrees of freedom of `error`; below 1, there is no error.
    """

    mean: float
    null_means: dict[str, float]
    seeds: list[int]
    difference: Float64[np.ndarray, " nulls"]
    error: Float64[np.ndarray, " nulls"]
    df: list[int]

    @classmethod
    def of(cls, values: ArrayLike, nulls: Mapping[str, ArrayLike], paired: bool) -> _Test:
        own = np.asarray(values, dtype=np.float64)
        others = {name: np.asarray(null, dtype=np.float64) for name, null in nulls.items()}
        rows = []
        for name, null in others.items():
            if not paired:
                rows.append(_two_samples(_without_nan(own), _without_nan(null)))
                continue
            if len(null) != len(own):
                raise RankprobeError(f"{len(null)} values of {name}; expected {len(own)}, one per seed")
            rows.append(_one_sample(_without_nan(own - null)))
        seeds, difference, error, df = zip(*rows, strict=True) if rows else ([], [], [], [])
        means = {name: _mean(_without_nan(null)) for name, null in others.items()}
        return cls(
            _mean(_without_nan(own)), means, list(seeds), np.array(difference), np.array(error), list(df)
        )

    @property
    def exists(self) -> bool:
        return min(self.seeds, default=0) >= MIN_SEEDS

    @property
    def p(self) -> float:
        """Return the largest p of the nulls, 1 if their signs differ; NaN without a test."""
        if not self.exists:
            return math.nan
        with np.errstate(divide="ignore", invalid="ignore"):  # equal values in all seeds
            t = np.where(self.difference == 0, 0.0, self.difference / self.error)
        df = np.array(self.df)
        above, below = scipy.special.stdtr(df, -t).max(), scipy.special.stdtr(df, t).max()
        return float(min(1.0, 2 * min(above, below)))

    def verdict(self, adjusted: float) -> Verdict:
        """The verdict, with p adjusted for the number of readings."""
        quantiles = np.array([_t_quantile(df, LEVEL / 2) for df in self.df])
        low, high = self.difference - quantiles * self.error, self.difference + quantiles * self.error
        differences = {
            name: Difference(float(self.difference[i]), float(low[i]), float(high[i]), self.seeds[i])
            for i, name in enumerate(self.null_means)
        }
        least = margin = math.nan
        side = ""
        if self.exists:
            effects = np.array([_standardized_effect(df) for df in self.df])
            least = float(max(MIN_DIFFERENCE, *(effects * self.error)))
            one_sided = np.array([_t_quantile(df, LEVEL) for df in self.df])
            margin = float((np.abs(self.difference) + one_sided * self.error).max())
            if adjusted <= LEVEL and np.abs(self.difference).min() >= MIN_DIFFERENCE:
                side = "above" if self.difference[0] > 0 else "below"
        return Verdict(
            mean=self.mean,
            null_means=self.null_means,
            differences=differences,
            p=self.p,
            p_adjusted=adjusted,
            least_detectable=least,
            margin=margin,
            side=side,
            words=self._words(side, least, margin),
        )

    def _words(self, side: str, least: float, margin: float) -> str:
        if math.isnan(self.mean):
            return "undefined"
        if not any(self.seeds):
            return "the null has no value"
        fewest, most = min(self.seeds), max(self.seeds)
        if most == 1:
            return "one seed: no verdict"
        if fewest < MIN_SEEDS:
            null = list(self.null_means)[self.seeds.index(fewest)]
            if fewest == most:
                return f"two seeds: no verdict, as it needs {MIN_SEEDS}"
            return f"no verdict, as it needs {MIN_SEEDS} seeds and '{null}' has {fewest}"
        nulls = "its nulls" if len(self.null_means) > 1 else "its null"
        if side:
            return f"{side} {nulls}"
        is_equal = margin <= max(MARGIN, MARGIN_SHARE * min(self.null_means.values()))
        equal = f"equal within {_rounded_up(margin)}; " if is_equal else ""
        return f"not distinguishable from {nulls} ({equal}least detectable effect {least:.1f})"


def _one_sample(differences: Float64[np.ndarray, " seeds"]) -> tuple[int, float, float, int]:
    """Number, mean and standard error of differences, and degrees of freedom."""
    n = len(differences)
    if n < 2:
        return n, _mean(differences), math.nan, n - 1
    variance = _not_below_rounding(float(differences.var(ddof=1)), differences)
    return n, _mean(differences), math.sqrt(variance / n), n - 1


def _two_samples(
    a: Float64[np.ndarray, " seeds_a"], b: Float64[np.ndarray, " seeds_b"]
) -> tuple[int, float, float, int]:
    """The same for the difference of means of independent samples with one variance."""
    fewest, df = min(len(a), len(b)), len(a) + len(b) - 2
    if not fewest or df < 1:
        return fewest, _mean(a) - _mean(b), math.nan, df
    pooled = _not_below_rounding(float(len(a) * a.var() + len(b) * b.var()) / df, np.concatenate([a, b]))
    return fewest, float(a.mean() - b.mean()), math.sqrt(pooled * (1 / len(a) + 1 / len(b))), df


def _not_below_rounding(variance: float, values: Float64[np.ndarray, " values"]) -> float:
    return max(variance, ROUNDING) if (values == np.round(values)).all() else variance


@lru_cache
def _t_quantile(df: int, tail: float) -> float:
    return float(scipy.stats.t.isf(tail, df)) if df >= 1 else math.nan


@lru_cache
def _standardized_effect(df: int) -> float:
    """The least detectable effect over the standard error: the noncentrality at which t reaches `POWER`.

    The other tail is left out, as its probability is below 1e-6 there.
    """
    critical = _t_quantile(df, LEVEL / 2)
    bracket = (critical / 2, 2 * critical + 2)
    found = scipy.optimize.root_scalar(lambda x: scipy.stats.nct.sf(critical, df, x) - POWER, bracket=bracket)
    return float(found.root)


def _rounded_up(value: float) -> str:
    """One decimal; a margin must not be rounded down."""
    return f"{math.ceil(round(value * 10, 6)) / 10:.1f}"


def _without_nan(values: Float64[np.ndarray, " seeds"]) -> Float64[np.ndarray, " left"]:
    return values[~np.isnan(values)]


def _mean(values: Float64[np.ndarray, " seeds"]) -> float:
    return float(values.mean()) if len(values) else math.nan
