"""Readings compared with their nulls: the rule, its error rate, and the cases without a test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankprobe.rank.verdict import verdict

readings = st.lists(st.integers(0, 20).map(float), min_size=2, max_size=6)


@given(readings, readings)
@settings(deadline=None, max_examples=200)
def test_the_rule_is_students_t_and_one_rank(values, null):
    found, difference = verdict(values, null), np.mean(values) - np.mean(null)
    if len(set(values)) == len(set(null)) == 1:  # scipy returns NaN if no value varies
        expected = abs(difference) >= 1
    else:
        one, other = ((np.mean(side), np.std(side, ddof=1), len(side)) for side in (values, null))
        expected = abs(difference) >= 1 and stats.ttest_ind_from_stats(*one, *other).pvalue <= 0.01
    assert found.distinguishable == expected


@given(readings, readings)
@settings(deadline=None)
def test_sides_mirror_each_other(values, null):
    one, other = verdict(values, null), verdict(null, values)
    assert one.distinguishable == other.distinguishable
    assert ("above" in one.words) == ("below" in other.words)


def test_draws_of_the_null_are_rarely_told_from_it():
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(4, 0.3, size=(2000, 2, 3))  # skewed, like counts of positive entries
    wrong = np.mean([verdict(*pair).distinguishable for pair in counts])
    assert wrong < 0.02


def test_the_level_is_one_percent_two_sided():
    # Both spreads are 1, so means must differ by t(0.995; 4) · √(2/3) = 3.76; at 2 % it would be 3.06.
    assert verdict([13.8, 14.8, 15.8], [10, 11, 12]).distinguishable
    assert not verdict([13.7, 14.7, 15.7], [10, 11, 12]).distinguishable


def test_effect_is_in_units_of_the_nulls_spread():
    found = verdict([30, 32, 34], [8, 10, 12])
    assert (found.mean, found.null_mean, found.null_spread, found.effect) == (32, 10, 2, 11)
    assert found.words == "above the null"
    assert verdict([8, 10, 12], [30, 32, 34]).words == "below the null"


def test_a_null_that_does_not_vary():
    assert verdict([64, 64, 64], [64, 64, 64]).effect == 0
    same = verdict([64, 64, 63], [64, 64, 64])
    assert same.effect == -math.inf
    assert same.words == "not distinguishable from the null"
    assert verdict([62, 62, 62], [64, 64, 64]).distinguishable


def test_one_value_is_held_against_many():
    assert verdict([40], [9, 12, 5, 11]).distinguishable
    assert not verdict([14], [9, 12, 5, 11]).distinguishable
    assert math.isnan(verdict([9, 12, 5, 11], [40]).effect)


@pytest.mark.parametrize(
    ("value", "null", "words"),
    [
        (63, 9, "above the null"),
        (9, 63, "below the null"),
        (14, 5, "not distinguishable from the null"),  # nine apart
        (63, 40, "not distinguishable from the null"),  # less than twice
    ],
)
def test_one_seed_says_that_spread_is_unknown(value, null, words):
    found = verdict([value], [null])
    assert found.words == f"{words} (one seed: spread unknown)"
    assert found.distinguishable == (words != "not distinguishable from the null")
    assert math.isnan(found.null_spread)
    assert math.isnan(found.effect)


def test_undefined_readings_are_dropped():
    assert verdict([30, math.nan, 32, 34], [8, 10, 12, math.nan]) == verdict([30, 32, 34], [8, 10, 12])
    nothing = verdict([5, 5, 5], [math.nan] * 3)
    assert nothing.words == "the null has no value"
    assert not nothing.distinguishable
    assert verdict([], [1.0]).words == "undefined"
