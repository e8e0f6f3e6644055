"""Intervals over seeds: of a share of runs, and of a mean over seeds and examples."""

from __future__ import annotations

import numpy as np
import pytest

from rankprobe.rank import mean_interval, share_interval


@pytest.mark.parametrize(
    ("count", "n", "expected"),
    [(0, 3, (0, 0.7076)), (3, 3, (0.2924, 1)), (2, 3, (0.0943, 0.9916)), (5, 10, (0.1871, 0.8129))],
)
def test_share_interval(count, n, expected):
    """The limits are in tables of Clopper and Pearson (1934)."""
    assert share_interval(count, n) == pytest.approx(expected, abs=1e-4)


def test_a_mean_interval_has_the_spread_of_seeds_and_of_examples():
    rng = np.random.default_rng(0)
    seeds, shared = rng.normal(0, 1, (40, 1)), rng.normal(0, 1, 400)
    of_seeds = np.repeat(seeds, 400, axis=1)
    low, high = mean_interval(of_seeds)
    assert high - low == pytest.approx(2 * 1.96 * seeds.std() / np.sqrt(40), rel=0.1)
    low, high = mean_interval(np.tile(shared, (40, 1)))
    assert high - low == pytest.approx(2 * 1.96 * shared.std(), rel=0.15)  # more seeds do not help


def test_undefined_resamples_are_left_out():
    resampled = np.array([[4.0, np.nan, 4.0], [np.nan, np.nan, 4.0]])
    assert mean_interval(resampled) == (4, 4)
    assert np.isnan(mean_interval(np.full((2, 3), np.nan))).all()
