"""Rank measures: known spectra, invariances, and an independent oracle."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from rankprobe import rank
from rankprobe.errors import RankprobeError

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**32 - 1)


def matrix(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


def orthogonal(size, seed):
    return np.linalg.qr(matrix((size, size), seed))[0]


@given(shapes, seeds)
@settings(deadline=None)
def test_measures_do_not_change_under_rotation_and_scale(shape, seed):
    P = matrix(shape, seed)
    moved = 37.5 * orthogonal(shape[0], seed + 1) @ P @ orthogonal(shape[1], seed + 2)
    np.testing.assert_allclose(rank.measure(moved), rank.measure(P), rtol=1e-8)


@given(shapes, seeds)
@settings(deadline=None)
def test_order_of_measures(shape, seed):
    m = rank.measure(matrix(shape, seed))
    assert m["stable_rank"] + 1e-9 >= 1
    assert m["stable_rank"] <= m["erank_rv"] + 1e-9 <= m["numerical_rank"] + 2e-9
    assert m["numerical_rank"] <= min(shape)


@given(shapes, seeds)
@settings(deadline=None)
def test_singular_values_agree_with_scipy_and_with_the_gram_matrix(shape, seed):
    P = matrix(shape, seed)
    oracle = scipy.linalg.svdvals(P)
    np.testing.assert_allclose(rank.singular_values(P), oracle, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(rank.gram_singular_values(P), oracle, rtol=1e-6, atol=1e-6 * oracle[0])


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_planted_rank(k):
    P = matrix((9, k), 1) @ matrix((k, 14), 2)
    assert rank.measure(P)["numerical_rank"] == k
    assert np.linalg.matrix_rank(P) == k


def test_known_spectra():
    flat = rank.measure(3 * np.eye(5, 8))
    assert flat.to_dict() == pytest.approx({"numerical_rank": 5, "erank_rv": 5, "stable_rank": 5})
    single = rank.measure(np.outer(np.arange(1, 4), np.ones(6)))
    assert single.to_dict() == pytest.approx({"numerical_rank": 1, "erank_rv": 1, "stable_rank": 1})
    halves = rank.measure(np.diag([4.0, 2.0, 2.0]))
    assert halves["erank_rv"] == pytest.approx(np.exp(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))))
    assert halves["stable_rank"] == pytest.approx(1.5)


def test_numerical_rank_tolerance_is_that_of_float32():
    rtol = rank.numerical_rank_rtol((3, 100))
    assert rtol == 100 * np.finfo(np.float32).eps
    below, above = np.diag([1.0, 0.9 * rtol]), np.diag([1.0, 1.1 * rtol])
    shape = (3, 100)
    assert rank.numerical_rank(rank.singular_values(below), shape) == 1
    assert rank.numerical_rank(rank.singular_values(above), shape) == 2


def test_the_gram_matrix_is_accurate_where_the_tolerance_lies():
    s = np.geomspace(1, 1e-6, 40)
    P = orthogonal(40, 1) * s @ orthogonal(60, 2)[:40]
    np.testing.assert_allclose(rank.gram_singular_values(P), s, rtol=1e-3)


def test_the_gram_matrix_does_not_invent_small_values():
    P = matrix((40, 3), 1) @ matrix((3, 60), 2)
    s = rank.gram_singular_values(P)
    assert (s[3:] == 0).all()
    assert rank.erank_rv(s, P.shape) == pytest.approx(rank.measure(P)["erank_rv"], rel=1e-12)


@pytest.mark.parametrize("P", [np.zeros((4, 6)), np.zeros((0, 6))])
def test_nothing_has_rank_zero(P):
    assert rank.measure(P).to_dict() == {"numerical_rank": 0, "erank_rv": 0, "stable_rank": 0}


def test_measures_take_stacks():
    stack = np.stack([matrix((4, 6), i) for i in range(3)])
    s = rank.singular_values(stack)
    for name, function in rank.MEASURES.items():
        alone = [rank.measure(P)[name] for P in stack]
        np.testing.assert_allclose(function(s, (4, 6)), alone, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_matrices_are_refused(bad):
    P = np.ones((2, 3))
    P[1, 1] = bad
    with pytest.raises(RankprobeError, match=r"matrix of shape \(2, 3\) holds NaN or infinite entries"):
        rank.measure(P)


def test_a_vector_is_no_matrix():
    with pytest.raises(RankprobeError, match=r"expected a matrix .* got shape \(3,\)"):
        rank.measure([1.0, 2.0, 3.0])


def test_sign_counts():
    assert rank.sign_counts([0.5, -0.0, 0.0, -2.0, 1e-30]) == {
        "n_positive": 2,
        "n_negative": 1,
        "n_zero": 2,
    }


def test_revived():
    assert rank.revived([-1.0, 0.0, 1.0, 1.0], [0.1, 0.1, -1.0, 2.0]) == 2


def test_noise_has_the_norm_it_is_asked_for():
    noise = rank.gaussian_like((30, 50), 2.5, np.random.default_rng(0))
    assert np.linalg.norm(noise) == pytest.approx(2.5)
    assert abs(noise.mean()) < 3 * noise.std() / np.sqrt(noise.size)
    assert rank.measure(noise)["numerical_rank"] == 30
