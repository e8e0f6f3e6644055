"""Readings compared with their nulls: the rules, their error rates, and the cases without a test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from rankprobe.errors import RankprobeError
from rankprobe.rank.verdict import LEVEL, ROUNDING, Verdict, place, verdict, verdicts

EQUAL = "not distinguishable from its null"

table = st.integers(3, 6).flatmap(
    lambda seeds: st.lists(
        st.lists(st.integers(0, 20).map(float), min_size=seeds, max_size=seeds), min_size=2, max_size=4
    )
)
"""Values of a reading, then of its nulls, over the same seeds."""


def compare(values, *nulls, **options) -> Verdict:
    return verdict(values, {f"null {i}": null for i, null in enumerate(nulls)}, **options)


def spread_out(mean: float, sd: float, seeds: int) -> np.ndarray:
    """Values with exactly this mean and sample standard deviation."""
    raw = np.arange(seeds) - (seeds - 1) / 2
    return mean + sd * raw / raw.std(ddof=1)


@given(table)
@example([[0.0] * 3, [1.0] * 3])
@example([[0.0] * 3, [2.0] * 3])
@settings(max_examples=200)
def test_the_rule_is_students_t_of_the_pairs_one_rank_and_agreement(rows):
    values, *nulls = rows
    sides = []
    for null in nulls:
        differences = np.subtract(values, null)
        if differences.var(ddof=1) < ROUNDING:
            t = differences.mean() / math.sqrt(ROUNDING / len(differences))
            p = 2 * stats.t.sf(abs(t), len(differences) - 1)
        else:
            p = stats.ttest_1samp(differences, 0).pvalue
        differs = p <= LEVEL and abs(differences.mean()) >= 1
        sides.append(np.sign(differences.mean()) if differs else 0)
    expected = {1: "above", -1: "below", 0: ""}[sides[0] if len(set(sides)) == 1 else 0]
    assert compare(values, *nulls).side == expected


@given(table)
def test_sides_mirror_each_other(rows):
    values, *nulls = rows
    mirrored = compare(np.negative(values), *np.negative(nulls))
    found = compare(values, *nulls)
    assert {"above": "below", "below": "above", "": ""}[found.side] == mirrored.side
    assert found.p == mirrored.p


def test_every_null_must_agree():
    high = spread_out(60, 2, 5)
    assert compare(high, spread_out(20, 3, 5), spread_out(40, 3, 5)).words == "above its nulls"
    assert compare(high, spread_out(20, 3, 5), spread_out(60, 9, 5)).words.startswith(f"{EQUAL}s (least")
    opposite = compare(high, spread_out(20, 3, 5), spread_out(90, 3, 5))
    assert (opposite.side, opposite.p) == ("", 1)


def test_p_of_a_reading_is_the_largest_of_its_nulls():
    values, nulls = spread_out(30, 2, 5), [spread_out(22, 5, 5), spread_out(27, 1, 5), spread_out(11, 9, 5)]
    found = compare(values, *nulls)
    assert found.p == pytest.approx(max(stats.ttest_rel(values, null).pvalue for null in nulls))


def test_the_level_is_one_percent_two_sided():
    # Differences of spread 1 over three seeds need a mean of t(0.995; 2) / √3 = 5.73; at 2 % it would be 4.02.
    null = np.zeros(3)
    assert compare(spread_out(5.74, 1, 3), null).distinguishable
    assert not compare(spread_out(5.72, 1, 3), null).distinguishable


def test_a_difference_that_never_varies_must_be_a_rank():
    assert compare([64, 64, 64], [62, 62, 62]).words == "above its null"
    assert compare([64, 64, 64], [63.1, 63.1, 63.1]).words.startswith(EQUAL)
    assert compare([64, 64, 64], [62, 62, 62], [63.1, 63.1, 63.1]).words.startswith(EQUAL)
    same = compare([64, 64, 64], [64, 64, 64])
    assert (same.p, same.words) == (1, f"{EQUAL} (equal within 1.2; least detectable effect 2.1)")


def test_whole_numbers_that_agree_by_chance_are_not_certain():
    """Of three pairs of coins, one in 32 has the same difference of one in all; a count is known within a half."""
    assert compare([1, 1, 1], [0, 0, 0]).side == ""
    assert compare([1.1, 1.1, 1.1], [0, 0, 0]).side == "above"
    rng = np.random.default_rng(0)
    for sides, n in ((2, 3), (3, 3), (2, 5)):
        draws = rng.integers(sides, size=(1500, 2, n))
        false = sum(compare(one, other).side != "" for one, other in draws)
        assert false <= 1500 * LEVEL + 2.5 * (1500 * LEVEL) ** 0.5, (sides, n)


def test_pairs_remove_what_seeds_share():
    shared, own = np.array([0.0, 30, 60, 90]), np.array([5.0, 6, 5, 6])
    assert compare(shared + own, shared).side == "above"
    assert compare(shared + own, shared, paired=False).side == ""


def test_without_pairs_the_test_is_students_two_sample_t():
    values, null = spread_out(13.8, 1, 3), spread_out(10, 1, 4)
    found = compare(values, null, paired=False)
    assert found.p == pytest.approx(stats.ttest_ind(values, null).pvalue)
    interval = stats.ttest_ind(values, null).confidence_interval(1 - LEVEL)
    only = found.differences["null 0"]
    assert (only.low, only.high, only.seeds) == (pytest.approx(interval.low), pytest.approx(interval.high), 3)
    with pytest.raises(RankprobeError, match="4 values of null 0; expected 3, one per seed"):
        compare(values, null)


def test_the_interval_of_a_difference():
    values, null = spread_out(30, 2, 6), np.array([9.0, 12, 8, 13, 10, 8])
    interval = stats.ttest_rel(values, null).confidence_interval(1 - LEVEL)
    found = compare(values, null).differences["null 0"]
    assert (found.mean, found.low, found.high) == pytest.approx((20, interval.low, interval.high))


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_least_detectable_effect_is_found_four_times_in_five(seeds):
    rng = np.random.default_rng(seeds)
    noise = rng.normal(0, 3, (4000, seeds))
    sd = 3 * math.sqrt(seeds)
    effect = compare(spread_out(0, sd, seeds), np.zeros(seeds)).least_detectable / math.sqrt(seeds)
    found = np.mean([compare(row + effect, np.zeros(seeds)).distinguishable for row in noise])
    assert found == pytest.approx(0.8, abs=0.02)


def test_the_least_detectable_effect_is_that_of_the_worst_null_and_at_least_a_rank():
    values = np.full(5, 60.0)
    wide, narrow = spread_out(60, 9, 5), spread_out(60, 1, 5)
    assert compare(values, narrow, wide).least_detectable == compare(values, wide).least_detectable
    assert compare(values, spread_out(60, 0.01, 5)).least_detectable == 1


def test_equal_within_a_margin_where_two_one_sided_tests_pass():
    values, null = spread_out(60.5, 1, 5), np.full(5, 60.0)
    found = compare(values, null)
    for sign in (1, -1):  # at the margin, p of the less favourable of the two tests is the level
        p = stats.ttest_1samp(sign * (values - null), -found.margin, alternative="greater").pvalue
        assert p <= LEVEL * (1 + 1e-6)
    assert p == pytest.approx(LEVEL)
    assert "(equal within 2.2; least" in found.words  # 10 % of 60 are 6
    assert "equal" not in compare(values - 50, null - 50).words  # 10 % of 10 are 1
    assert found.margin < compare(values, null, spread_out(58, 2, 5)).margin


def test_draws_of_the_null_are_rarely_told_from_it():
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(4, 0.3, size=(4000, 2, 5))  # skewed, like counts of positive entries
    for paired in (True, False):
        assert np.mean([compare(*pair, paired=paired).distinguishable for pair in counts]) < 0.015


def test_many_readings_are_adjusted_by_benjamini_and_hochberg():
    shifts = (0, 0, 0, 0, 2.2, 2.6, 3, 9)
    readings = {f"reading {i}": (spread_out(x, 1, 5), {"null": np.zeros(5)}) for i, x in enumerate(shifts)}
    found = verdicts(readings | {"undefined": ([math.nan] * 5, {"null": np.zeros(5)})})
    undefined = found.pop("undefined")
    assert math.isnan(undefined.p_adjusted)
    p = [each.p for each in found.values()]
    adjusted = stats.false_discovery_control(p)
    assert [each.p_adjusted for each in found.values()] == pytest.approx(list(adjusted))
    assert [each.distinguishable for each in found.values()] == list(adjusted <= LEVEL)
    # This reading alone would be above its null; among eight it is not.
    alone = verdict(*readings["reading 4"])
    assert alone.distinguishable > found["reading 4"].distinguishable


@pytest.mark.parametrize(
    ("values", "nulls", "words"),
    [
        ([63], [[9]], "one seed: no verdict"),
        ([63], [[9], [10]], "one seed: no verdict"),
        ([63, 64], [[9, 10]], "two seeds: no verdict, as it needs 3"),
        ([63, 64, math.nan], [[9, 10, 8]], "two seeds: no verdict, as it needs 3"),
        (
            [63, 64, 65],
            [[9, 10, 8], [9, 10, math.nan]],
            "no verdict, as it needs 3 seeds and 'null 1' has 2",
        ),
        ([5, 5, 5], [[math.nan] * 3], "the null has no value"),
        ([5, 5, 5], [], "the null has no value"),
        ([math.nan] * 3, [[5, 5, 5]], "undefined"),
        ([], [[]], "undefined"),
    ],
)
def test_too_few_seeds_have_no_verdict(values, nulls, words):
    found = compare(values, *nulls)
    assert (found.words, found.distinguishable) == (words, False)
    assert all(math.isnan(number) for number in (found.p, found.least_detectable, found.margin))


def test_pairs_with_an_undefined_value_are_dropped():
    found = compare([30, math.nan, 32, 35, 33], [8, 3, 10, math.nan, 12])
    whole = compare([30, 32, 33], [8, 10, 12])
    assert (found.p, found.differences) == (whole.p, whole.differences)
    assert found.mean == 32.5
    assert found.null_means == {"null 0": 8.25}


def test_the_place_of_one_run_among_its_twins():
    draws = list(range(20))
    assert place(30, draws, "Gaussian twins").words == (
        "larger than all 20 Gaussian twins, two-sided p = 0.095"
    )
    assert place(-1, draws).words == "smaller than all 20 twins, two-sided p = 0.095"
    assert place(4.5, draws).words == "larger than 5 of 20 twins, two-sided p = 0.57"
    assert place(19, draws).p == pytest.approx(4 / 21)  # a tie counts against the reading
    assert place(3, [3] * 20).p == 1
    assert place(1000, range(999)).p == pytest.approx(0.002)
    with pytest.raises(RankprobeError, match="19 twins are too few; expected at least 20"):
        place(3, [*range(19), math.nan])


def test_the_p_of_a_place_is_a_probability():
    rng = np.random.default_rng(0)
    p = np.array([place(row[0], row[1:]).p for row in rng.integers(0, 9, (4000, 41))])
    assert all(np.mean(p <= level) <= level + 0.005 for level in (0.05, 0.1, 0.2, 0.5))
