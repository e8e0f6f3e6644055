"""Whether related prompts share directions: the overlaps and the test are right, and the null behaves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rankprobe import rank
from rankprobe.errors import RankprobeError


def matrix(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


def test_leading_directions_are_those_of_the_decomposition_at_any_scale():
    P = matrix((10, 30), 0)
    for scale in (1.0, 1e30, 1e-30):
        ours, theirs = rank.leading_directions(P * scale, 4), rank.directions(P, 4)
        np.testing.assert_allclose(abs(ours @ theirs.T), np.eye(4), atol=1e-9)


def test_directions_that_a_matrix_does_not_have_are_refused():
    P = np.outer(np.ones(6), matrix(9, 0))
    assert rank.leading_directions(P, 1).shape == (1, 9)
    for wrong in (P, np.zeros((6, 9))):
        with pytest.raises(RankprobeError, match="2 directions of a matrix"):
            rank.leading_directions(wrong, 2)


def test_overlaps_are_phi_of_each_pair():
    prompts = [matrix((8, 20), seed) for seed in range(4)]
    overlaps = rank.subspace_overlaps([rank.leading_directions(P, 3) for P in prompts])
    for i in range(4):
        for j in range(4):
            assert overlaps[i, j] == pytest.approx(rank.phi(prompts[i], prompts[j], 3, 3))
    assert rank.off_diagonal_mean(overlaps) == pytest.approx((overlaps.sum() - 4) / 12)
    halves = [[rank.leading_directions(P[start::2], 3) for P in prompts] for start in (0, 1)]
    mixed = rank.subspace_overlaps(*halves)
    one, other = prompts[:2]
    expected = (rank.phi(one[::2], other[1::2], 3, 3) + rank.phi(one[1::2], other[::2], 3, 3)) / 2
    assert mixed[0, 1] == mixed[1, 0] == pytest.approx(expected)


def test_shuffled_rows_keep_their_entries_and_lose_the_directions():
    P = np.tile(matrix(400, 0), (12, 1))
    shuffled = rank.shuffled_within_rows(P, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(P, axis=1))
    assert rank.phi(P, shuffled, 1, 1) < 0.2


def test_cosines_of_positions():
    P = matrix((5, 7), 0)
    P[2] = 0
    cosines = rank.position_cosines(P, -3 * P)
    np.testing.assert_allclose(np.diag(cosines), [-1, -1, 0, -1, -1])
    assert not cosines[2].any()


def planted(kinds, seed):
    """Overlaps that are larger for two prompts of one kind."""
    rng, m = np.random.default_rng(seed), len(kinds)
    noise = rng.random((m, m))
    same = np.equal.outer(np.asarray(kinds), np.asarray(kinds))
    return (noise + noise.T) / 2 + 2 * same


def test_planted_relations_are_found_and_counted():
    kinds = [*"aaabbbcc"]
    found = rank.related_test(planted(kinds, 0), kinds, draws=999)
    assert (found.prompts, found.related, found.other) == (8, 7, 21)
    assert found.related_mean - found.other_mean == pytest.approx(2, abs=0.3)
    assert found.p < 0.01
    overlaps = planted([*kinds, "x"], 0)
    assert rank.related_test(overlaps, [*kinds, None], draws=99).prompts == 8


def test_without_relations_p_is_uniform():
    kinds = [*"aaabbbcc"]
    p = []
    for seed in range(200):
        noise = np.random.default_rng(seed).random((8, 8))
        p.append(rank.related_test(noise + noise.T, kinds, draws=99, seed=seed).p)
    assert 0.01 <= np.mean(np.array(p) <= 0.1) <= 0.17
    assert 0.4 <= np.mean(p) <= 0.6


def test_equal_overlaps_are_no_relation():
    assert rank.related_test(np.full((6, 6), 0.1), [*"aabbcc"], draws=99).p == 1


@pytest.mark.parametrize("kinds", [[*"abcd"], [*"aaaa"], [None] * 4])
def test_no_verdict_without_pairs_on_both_sides(kinds):
    found = rank.related_test(np.ones((4, 4)), kinds, draws=9)
    assert math.isnan(found.p)


def test_one_kind_per_prompt():
    with pytest.raises(RankprobeError, match="3 kinds for 4 prompts"):
        rank.related_test(np.ones((4, 4)), [*"abc"])
