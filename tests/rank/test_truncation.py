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
@settings(deadline=None)
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
