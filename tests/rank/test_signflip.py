"""Sign-flip parallel analysis: what it reads of noise, of planted signals, and where its null does not hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.edges import NOTHING_PLANTED, counts, planted
from rankprobe import rank

DRAWS = 8
"""The docstring of `signflip_edge` has the results of 200 draws."""

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**32 - 1)


def noise(name):
    return counts([NOTHING_PLANTED[name](seed) for seed in range(DRAWS)])


@pytest.mark.parametrize("name", ["Gaussian", "lognormal rows", "vocabulary of tiny"])
def test_at_most_one_where_nothing_is_planted(name):
    assert noise(name)["signflip_edge"].max() <= 1


def test_other_edges_take_row_scales_for_signal():
    found = noise("lognormal rows").drop(columns="signflip_edge")
    assert (found.min() >= 8).all()


def test_a_product_of_factors_is_not_its_null():
    """If this fails, the warning in the docstring of `signflip_edge` is out of date."""
    assert noise("start of the probe")["signflip_edge"].min() >= 10


@pytest.mark.parametrize("k", [1, 3, 10, 20])
def test_a_planted_rank_is_read_through_noise_with_unequal_rows(k):
    found = counts([planted(k, snr=1.5, seed=seed) for seed in range(3)])
    assert found["signflip_edge"].tolist() == [k] * 3


def test_the_edge_rises_with_the_signal():
    """Directions with a small share of the norm of the matrix are not counted, however little noise there is."""
    s = np.array([10.0, 10.0, 10.0, 0.5])
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for size in (100, 768))
    assert rank.measure(U * s @ V.T)["signflip_edge"] == 3


@given(shapes, seeds)
def test_copies_have_the_entries_with_independent_signs(shape, seed):
    P = np.random.default_rng(seed).standard_normal(shape)
    copies = rank.signflipped(P, 3, seed)
    np.testing.assert_array_equal(abs(copies), np.broadcast_to(abs(P), (3, *shape)))
    assert rank.signflip_edge(37.5 * P) == pytest.approx(37.5 * rank.signflip_edge(P))


def test_signs_are_equally_frequent_and_differ_between_copies_rows_and_columns():
    signs = rank.signflipped(np.ones((40, 50)), 30)
    assert set(np.unique(signs)) == {-1, 1}
    for axis in range(3):
        assert abs(signs.mean(axis)).max() < 5 / np.sqrt(signs.shape[axis])
    assert abs(signs.mean()) < 5 / np.sqrt(signs.size)


@pytest.mark.parametrize("shape", [(1, 50), (50, 1)])
def test_a_matrix_without_a_sign_flip_null_counts_zero(shape):
    """Its singular values are the same for any signs; rounding must not decide."""
    draws = [np.random.default_rng(seed).standard_normal(shape) for seed in range(20)]
    assert [rank.measure(P, seed)["signflip_edge"] for seed, P in enumerate(draws)] == [0] * 20
