"""The reproducible rank: invariances, an independent oracle, planted ranks, and where it fails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankprobe import rank
from rankprobe.errors import RankprobeError

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(2, 10)


def pair(seed, n=8, d=10, r=3, noise=0.3, count=2):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n, r)) @ rng.standard_normal((r, d))
    return signal + noise * rng.standard_normal((count, n, d))


def orthogonal(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


@given(seeds, sides, sides, st.integers(2, 4))
@settings(max_examples=40)
def test_the_gain_is_the_squared_error_that_a_truncated_replicate_saves(seed, n, d, count):
    """The oracle truncates, subtracts and squares; it knows nothing of the formula."""
    replicates = pair(seed, n, d, r=2, count=count)
    expected = np.zeros(min(n, d) + 1)
    for i, j in [(i, j) for i in range(count) for j in range(count) if i != j]:
        U, s, Vt = np.linalg.svd(replicates[i])
        for k in range(min(n, d) + 1):
            cut = U[:, :k] @ np.diag(s[:k]) @ Vt[:k]
            expected[k] += (replicates[j] ** 2).sum() - ((replicates[j] - cut) ** 2).sum()
    expected /= (count - 1) * (replicates**2).sum()
    np.testing.assert_allclose(rank.cv_gain(replicates), expected, atol=1e-9)
    assert rank.cv_rank(replicates) == expected.argmax()


@given(seeds)
@settings(max_examples=40)
def test_cv_rank_ignores_rotation_scale_and_order(seed):
    replicates = pair(seed)
    gain = rank.cv_gain(replicates)
    for changed in (
        orthogonal(8, seed) @ replicates @ orthogonal(10, 1),
        37.5 * replicates,
        replicates[::-1],
    ):
        np.testing.assert_allclose(rank.cv_gain(changed), gain, atol=1e-9)


@given(seeds)
@settings(max_examples=40)
def test_the_edge_ignores_scale_order_transposed_signs_of_rows_and_columns(seed):
    replicates = pair(seed)
    found = rank.replicate_edge(replicates)
    rng = np.random.default_rng(seed)
    rows, columns = (rng.choice([-1.0, 1.0], size) for size in ((8, 1), 10))
    for changed in (37.5 * replicates, replicates[::-1], rows * replicates * columns):
        assert rank.replicate_edge(changed) == found


@pytest.mark.parametrize("r", [1, 5, 20, 50])
def test_both_find_a_planted_rank(r):
    rng = np.random.default_rng(r)
    left, right = (np.linalg.qr(rng.standard_normal((size, r)))[0] for size in (50, 60))
    replicates = 60 * left @ right.T + rng.standard_normal((2, 50, 60))
    assert rank.cv_rank(replicates) == r
    assert rank.replicate_edge(replicates) == r


def test_of_noise_alone_cv_rank_is_zero_and_the_edge_seldom_more_than_one():
    draws = [np.random.default_rng(seed).standard_normal((2, 30, 40)) for seed in range(60)]
    assert max(map(rank.cv_rank, draws)) == 0
    counts = list(map(rank.replicate_edge, draws))
    assert max(counts) <= 2
    assert np.mean(np.array(counts) > 0) <= 0.25


def test_equal_replicates_agree_in_every_direction_and_zeros_in_none():
    matrix = np.random.default_rng(0).standard_normal((6, 9))
    assert rank.cv_rank([matrix, matrix]) == rank.replicate_edge([matrix, matrix]) == 6
    assert rank.cv_gain([matrix, matrix])[-1] == pytest.approx(1)
    low = np.outer(np.arange(1, 5), np.ones(6))
    assert rank.cv_rank([low, low]) == rank.replicate_edge([low, low]) == 1
    zero = np.zeros((4, 6))
    assert rank.cv_rank([zero, zero]) == rank.replicate_edge([zero, zero]) == 0


def test_cv_rank_is_zero_where_less_than_half_of_the_energy_agrees():
    """The stated failure: all 30 directions are shared, and none is counted."""
    rng = np.random.default_rng(0)
    signal = 6 * orthogonal(30, 1)
    replicates = signal + 1.5 * rng.standard_normal((2, 30, 30))
    agreement = (replicates[0] * replicates[1]).sum() / np.prod(np.linalg.norm(replicates, axis=(1, 2)))
    assert agreement < 0.5
    assert rank.cv_rank(replicates) == 0


def test_the_edge_counts_noise_whose_entries_depend_on_each_other():
    """Its stated failure: noise of one direction per replicate, which signs spread over all."""
    rng = np.random.default_rng(0)
    replicates = np.stack([np.outer(rng.standard_normal(30), rng.standard_normal(40)) for _ in range(2)])
    assert rank.replicate_edge(replicates) == 2
    assert rank.cv_rank(replicates) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((1, 3, 4)), r"two or more matrices \(n, d\) of one shape, got shape \(1, 3, 4\)"),
        (np.ones((3, 4)), r"two or more matrices"),
        (np.ones((2, 0, 4)), r"two or more matrices"),
        ([np.ones((3, 4)), np.ones((4, 3))], "replicates differ in shape"),
        (np.full((2, 3, 4), np.nan), "NaN or infinite"),
    ],
)
def test_what_are_no_replicates_is_refused(given, message):
    for function in (rank.cv_rank, rank.replicate_edge):
        with pytest.raises(RankprobeError, match=message):
            function(given)


def test_the_edge_needs_a_pair():
    with pytest.raises(RankprobeError, match="3 replicates; the edge needs a pair"):
        rank.replicate_edge(np.ones((3, 3, 4)))
