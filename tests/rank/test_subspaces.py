"""Whether prompts share directions, and more of them than by chance."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from rankprobe import rank
from rankprobe.errors import RankprobeError


def matrix(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


def test_a_prompt_shares_all_directions_with_itself_however_its_tokens_are_mixed():
    P = matrix((10, 30), 0)
    mixed = np.linalg.qr(matrix((10, 10), 1))[0] @ P
    assert rank.phi(P, mixed, 4, 4) == pytest.approx(1)
    np.testing.assert_allclose(rank.principal_angles(P, mixed, 4), 0, atol=1e-5)


def test_planted_overlap():
    basis = np.linalg.qr(matrix((40, 40), 0))[0]
    scale = np.diag([5.0, 4.0, 3.0, 2.0])
    one, other = scale @ basis[:4], scale @ basis[[0, 1, 8, 9]]
    assert rank.phi(one, other, 4, 4) == pytest.approx(0.5)
    assert rank.phi(one, other, 2, 4) == pytest.approx(1)
    np.testing.assert_allclose(rank.principal_angles(one, other, 4), [0, 0, 90, 90], atol=1e-5)


def test_random_subspaces_overlap_by_chance():
    values = [rank.phi(matrix((20, 50), i), matrix((20, 50), 1000 + i), 5, 8) for i in range(200)]
    assert np.mean(values) == pytest.approx(rank.phi_random(5, 8, 50), rel=0.05)


def test_angles_are_those_of_scipy_and_agree_with_phi():
    one, other = matrix((6, 20), 0), matrix((6, 20), 1)
    angles = rank.principal_angles(one, other, 3)
    bases = (rank.directions(each, 3).T for each in (one, other))
    np.testing.assert_allclose(angles, np.sort(np.degrees(scipy.linalg.subspace_angles(*bases))))
    assert np.square(np.cos(np.radians(angles))).mean() == pytest.approx(rank.phi(one, other, 3, 3))


def test_pairs_of_prompts():
    found = rank.similarities({"a": matrix((6, 20), 0), "b": matrix((5, 20), 1), "c": matrix((6, 20), 0)}, 3)
    assert list(zip(found["one"], found["other"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["phi"][1] == pytest.approx(1)
    assert set(found["phi_random"]) == {3 / 20}


def test_what_cannot_be_compared():
    with pytest.raises(RankprobeError, match="7 directions of a matrix .* of rank 6; expected 1 to 6"):
        rank.directions(matrix((6, 20), 0), 7)
    with pytest.raises(RankprobeError, match="of rank 0"):
        rank.directions(np.zeros((3, 4)), 1)
    with pytest.raises(RankprobeError, match="different widths"):
        rank.similarities({"a": matrix((6, 20), 0), "b": matrix((6, 21), 0)}, 2)
