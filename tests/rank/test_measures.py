"""Rank measures: known spectra, invariances, and an independent oracle."""

from __future__ import annotations

from itertools import pairwise

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
def test_measures_do_not_change_under_rotation_and_scale(shape, seed):
    P = matrix(shape, seed)
    moved = 37.5 * orthogonal(shape[0], seed + 1) @ P @ orthogonal(shape[1], seed + 2)
    rotated, plain = (rank.measure(each).drop(list(rank.EDGES)) for each in (moved, P))
    np.testing.assert_allclose(rotated, plain, rtol=1e-8)


@given(shapes, seeds)
def test_the_permutation_edge_grows_with_the_matrix_and_forgets_its_order(shape, seed):
    P = matrix(shape, seed)
    assert rank.permutation_edge(37.5 * P) == pytest.approx(37.5 * rank.permutation_edge(P))
    for copy in rank.shuffled(P, 3, seed):
        np.testing.assert_array_equal(np.sort(copy, axis=None), np.sort(P, axis=None))


@given(shapes, seeds)
def test_order_of_measures(shape, seed):
    m = rank.measure(matrix(shape, seed)) - 1e-9
    assert m["stable_rank"] > 1 - 1e-8
    chain = ["stable_rank", "participation_ratio", "erank_energy", "erank_rv", "numerical_rank"]
    for lower, upper in pairwise(chain):
        assert m[lower] <= m[upper] + 1e-8, (lower, upper)
    assert m["stable_rank"] <= m["nuclear_spectral"] + 1e-8 <= m["numerical_rank"] + 2e-8
    assert m["energy_90"] <= m["energy_95"] <= m["energy_99"] <= m["numerical_rank"]
    assert m["rank_rtol_1e2"] <= m["numerical_rank"] <= min(shape)
    assert max(m[list(rank.EDGES)]) <= m["numerical_rank"]


@given(shapes, seeds)
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


COUNTS_OF_NOISE = ("gavish_donoho", "mp_edge", *rank.EDGES)
"""Counts of singular values above white noise. The flat spectrum of an identity looks like noise to them."""


@pytest.mark.parametrize("k", [2, 5, 8])
def test_a_flat_spectrum(k):
    flat = rank.measure(3 * np.eye(k, 8)).drop([*COUNTS_OF_NOISE, "energy_90", "energy_95", "energy_99"])
    assert flat.to_dict() == pytest.approx(dict.fromkeys(flat.index, k))


@pytest.mark.parametrize(("k", "share", "least"), [(10, 0.9, 9), (10, 0.95, 10), (100, 0.99, 99)])
def test_energy_of_a_flat_spectrum(k, share, least):
    assert rank.energy_rank(np.ones(k), (k, k), share) == least


def test_rank_one():
    single = rank.measure(np.outer(np.arange(1, 5), np.ones(6)))
    assert single.drop(list(rank.EDGES)).to_dict() == pytest.approx(dict.fromkeys(rank.MEASURES, 1))


def test_formulas_by_hand():
    m = rank.measure(np.diag([4.0, 2.0, 2.0]))
    assert m["erank_rv"] == pytest.approx(np.exp(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))))
    p = np.array([16, 4, 4]) / 24
    assert m["erank_energy"] == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert m["stable_rank"] == pytest.approx(1.5)
    assert m["participation_ratio"] == pytest.approx(24**2 / (16**2 + 4**2 + 4**2))
    assert m["nuclear_spectral"] == pytest.approx(2.0)
    assert (m["energy_90"], m["rank_rtol_1e2"]) == (3, 3)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_a_geometric_spectrum(q):
    """s_i = q^i: closed forms of geometric series."""
    s = q ** np.arange(400)
    energy = q**2
    assert rank.stable_rank(s, (400, 400)) == pytest.approx(1 / (1 - energy))
    assert rank.participation_ratio(s, (400, 400)) == pytest.approx((1 + energy) / (1 - energy))
    assert rank.nuclear_spectral(s, (400, 400)) == pytest.approx(1 / (1 - q))
    for share in (0.9, 0.95, 0.99):
        assert rank.energy_rank(s, (400, 400), share) == np.ceil(np.log(1 - share) / np.log(energy) - 1e-9)


def noisy(k, shape=(60, 200), size=4.0, seed=0):
    """White noise with k equal directions that are `size` times the edge of the noise."""
    rng = np.random.default_rng(seed)
    U, V = orthogonal(shape[0], seed)[:, :k], orthogonal(shape[1], seed + 1)[:, :k]
    edge = np.sqrt(shape[0]) + np.sqrt(shape[1])
    return size * edge * U @ V.T + rng.standard_normal(shape)


@pytest.mark.parametrize("k", [0, 1, 3, 6])
def test_counts_beyond_noise_find_what_was_planted(k):
    found = rank.measure(noisy(k))
    assert found["gavish_donoho"] == k
    assert found["permutation_edge"] == k
    assert found["signflip_edge"] == k
    # The norm of the whole matrix sets this edge, so large planted directions raise the edge above themselves.
    assert found["mp_edge"] <= k if k else found["mp_edge"] <= 1


def test_rounding_is_no_rank():
    """The small singular values of a product of factors are float32 rounding, which is not counted."""
    A, B = matrix((100, 10), 0).astype(np.float32), matrix((10, 128), 1).astype(np.float32)
    assert rank.measure(A @ B)["gavish_donoho"] == 10


@given(st.integers(5, 40), st.integers(5, 60), seeds)
@settings(max_examples=30)
def test_gavish_donoho_agrees_with_optht(n, d, seed):
    from optht import optht

    s = rank.singular_values(matrix((n, d), seed) + 3 * noisy(1, (n, d), seed=seed % 1000))
    beta = min(n, d) / max(n, d)
    assert rank.gavish_donoho(s, (n, d)) == optht(beta, sv=s, sigma=None)


@given(shapes.filter(lambda shape: min(shape) > 1), seeds)
@settings(max_examples=30)
def test_participation_ratio_agrees_with_scikit_dimensions(shape, seed):
    """scikit-dimension uses the covariance, so the columns are centred first."""
    from skdim.id import lPCA

    P = matrix((shape[0] + 2, shape[1]), seed)
    P -= P.mean(0)
    theirs = lPCA(ver="participation_ratio").fit(P).dimension_
    assert rank.measure(P)["participation_ratio"] == pytest.approx(theirs)


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
    assert rank.measure(P).to_dict() == dict.fromkeys([*rank.MEASURES, *rank.EDGES], 0)


@pytest.mark.parametrize("P", [np.array([[2.0, 0.0, -1.0]]), np.array([[3.0]]), 1e-200 * np.ones((3, 4))])
def test_one_row_has_rank_one(P):
    found = rank.measure(P).drop([*COUNTS_OF_NOISE])
    assert found.to_dict() == pytest.approx(dict.fromkeys(found.index, 1))


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
