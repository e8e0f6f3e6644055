"""Truncated prompts, and the least k that is sufficient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankprobe import rank


def matrix(shape=(6, 9), seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_best_approximations(n, d, seed):
    """Eckart and Young: the error is the energy of the directions that were left out."""
    P, most = matrix((n, d), seed), min(n, d)
    s = np.linalg.svd(P, compute_uv=False)
    for k, part in enumerate(rank.truncated(P, range(most + 1), "top")):
        assert np.linalg.norm(P - part) == pytest.approx(np.sqrt(np.square(s[k:]).sum()), abs=1e-9)


def test_top_and_bottom_make_the_whole():
    P = matrix()
    top, bottom = rank.truncated(P, [2], "top")[0], rank.truncated(P, [4], "bottom")[0]
    np.testing.assert_allclose(top + bottom, P, atol=1e-12)
    assert np.linalg.norm(top) > np.linalg.norm(bottom)


def test_random_directions_are_nested_and_follow_the_seed():
    P = matrix()
    two, three = rank.truncated(P, [2, 3], "random", seed=1)
    assert np.linalg.matrix_rank(two) == 2
    assert np.linalg.matrix_rank(three - two) == 1
    assert not np.allclose(two, rank.truncated(P, [2], "random", seed=2)[0])
    np.testing.assert_array_equal(two, rank.truncated(P, [2], "random", seed=1)[0])


@pytest.mark.parametrize("keep", rank.KEEP_CHOICES)
def test_all_directions_are_the_matrix_itself_and_none_is_zero(keep):
    P = matrix()
    none, every = rank.truncated(P, [0, 6], keep)
    np.testing.assert_array_equal(every, P)
    np.testing.assert_array_equal(none, 0)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([50, 60, 90, 100], 4),  # 95 % of the gain from 50 to 100 is 97.5
        ([50, 98, 99, 100], 2),
        ([50, 98, 70, 100], 4),  # enough must stay enough
        ([100, 100, 100, 100], 1),
        ([50, 40, 40, 50], np.nan),  # no gain
    ],
)
def test_least_enough(scores, expected):
    found = rank.least_sufficient_k([1, 2, 3, 4], scores, full=scores[-1], floor=50, share=0.95)
    np.testing.assert_equal(float(found), expected)


def test_least_enough_of_many_at_once():
    scores = np.array([[0, 5, 10], [10, 10, 10], [1, 1, 1]])
    found = rank.least_sufficient_k([0, 1, 2], scores, full=[10, 10, 20], floor=0, share=0.9)
    np.testing.assert_equal(found, [2, 0, np.nan])


def test_least_enough_with_a_floor_of_its_own_for_each():
    found = rank.least_sufficient_k(
        [0, 1, 2], [[4, 9, 10]] * 3, full=[10, 10, 10], floor=[0, 8, 10], share=0.9
    )
    np.testing.assert_equal(found, [1, 2, np.nan])


def test_steps_to_the_end():
    assert rank.log_spaced_ks(1, 12) == [0, 1]
    assert rank.log_spaced_ks(5, 12) == [0, 1, 2, 3, 4, 5]
    assert {0, 1, 100} <= set(rank.log_spaced_ks(100, 12))
    assert len(rank.log_spaced_ks(100, 12)) <= 12


def test_importance_gives_the_order_of_the_directions():
    P = matrix()
    U, s, Vt = np.linalg.svd(P, full_matrices=False)
    importance = np.array([0.1, 0.5, 0.0, 0.9, 0.2, 0.3])
    top, bottom = (rank.truncated(P, [2], keep, importance=importance)[0] for keep in ("top", "bottom"))
    np.testing.assert_allclose(top, (U[:, [3, 1]] * s[[3, 1]]) @ Vt[[3, 1]], atol=1e-12)
    np.testing.assert_allclose(bottom, (U[:, [2, 0]] * s[[2, 0]]) @ Vt[[2, 0]], atol=1e-12)


def test_a_sensitivity_is_the_change_of_a_linear_loss_without_the_direction():
    """The loss tr(Gᵀ P) is linear, so the first order is exact."""
    P, G = matrix(), matrix(seed=1)
    U, s, Vt = np.linalg.svd(P, full_matrices=False)
    without = [P - s[i] * np.outer(U[:, i], Vt[i]) for i in range(6)]
    expected = [abs(np.sum(G * P) - np.sum(G * each)) for each in without]
    np.testing.assert_allclose(rank.sensitivities(P, G), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([50, 60, 90, 100], (5, 9)), ([50, 98, 99, 100], (0, 2)), ([99, 99, 99, 100], (-1, 0))],
)
def test_the_least_sufficient_k_is_in_the_bracket(scores, expected):
    found = rank.sufficient_bracket([0, 2, 5, 9], scores, full=100, floor=50, share=0.95)
    assert tuple(map(float, found)) == expected


def bisected(curve, *, shares=(0.95,), checks=0, extra=0, floor=0.0):
    """Bisect a dense curve; return the measured part, and the scored k in order."""
    scored: list[int] = []

    def score(ks):
        scored.extend(ks)
        return [curve[k] for k in ks]

    grid = rank.log_spaced_ks(len(curve) - 1, 9)
    found = rank.bisected_curve(score, grid, floor=floor, shares=shares, checks=checks, extra=extra)
    assert scored[: len(grid)] == grid
    assert sorted(scored) == list(found)
    assert list(found.values()) == [curve[k] for k in found]
    return found, scored[len(grid) :]


def least(ks, scores, share=0.95):
    return float(rank.least_sufficient_k(list(ks), list(scores), full=list(scores)[-1], floor=0, share=share))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=120).map(sorted))
@settings(max_examples=100)
def test_bisection_of_a_monotone_curve_gives_the_dense_result(curve):
    found, added = bisected(curve)
    np.testing.assert_equal(least(found, found.values()), least(range(len(curve)), curve))
    assert len(added) <= 6  # the widest gap of the grid from 0 to 119 has 57 values


@pytest.mark.parametrize("k", [1, 5, 30, 53, 77, 99, 100])
def test_bisection_takes_six_scores_at_most(k):
    found, added = bisected([0.0] * k + [1.0] * (101 - k))
    assert least(found, found.values()) == k
    assert len(added) <= 6


@given(st.lists(st.floats(0, 1), min_size=2, max_size=120), st.integers(0, 3))
@settings(max_examples=100)
def test_bisection_of_any_curve_gives_a_crossing(curve, checks):
    """The k below is not sufficient; all measured k from there on are. The dense result is never smaller."""
    found, _ = bisected(curve, checks=checks)
    k = least(found, found.values())
    if not np.isnan(k):
        level = 0.95 * curve[-1] - 1e-9
        assert k == 0 or curve[int(k) - 1] < level
        assert all(value >= level for at, value in found.items() if at >= k)
        assert least(range(len(curve)), curve) >= k


def test_a_check_finds_a_fall_below_the_level():
    curve = [0.0] * 10 + [1.0] * 60 + [0.5] * 10 + [1.0] * 21
    assert least(range(101), curve) == 80
    without, _ = bisected(curve)
    assert least(without, without.values()) == 10
    found, _ = bisected(curve, checks=1)
    assert least(found, found.values()) == 80


def test_bisection_goes_on_to_the_other_shares_as_long_as_it_may():
    curve = [k / 100 for k in range(101)]
    _, only_first = bisected(curve, shares=(0.95, 0.5))
    found, added = bisected(curve, shares=(0.95, 0.5), extra=11)
    assert added[: len(only_first)] == only_first
    assert least(found, found.values(), 0.5) == 50
    assert 49 in found
    _, some = bisected(curve, shares=(0.95, 0.5), extra=8)
    assert len(only_first) < len(some) == 8 < len(added)


def test_bisection_without_a_gain_scores_the_grid_only():
    assert bisected([0.0] * 101, checks=3, extra=8)[1] == []
