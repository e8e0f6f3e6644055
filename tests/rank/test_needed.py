"""The decision rule of the needed rank: bound, size, search."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rankprobe.rank import (
    kept_margin,
    least_certified_k,
    lower_bound,
    rows_for_a_proof,
)


def test_the_margin_is_zero_at_95_percent_of_the_gain():
    vanilla, baseline = np.array([[1.0, 1, 1, 0.8]]), np.array([0.0, 0.5, 1, 0.8])
    kept = baseline + 0.95 * (vanilla - baseline)
    np.testing.assert_allclose(kept_margin(kept, vanilla, baseline), 0, atol=1e-15)
    np.testing.assert_allclose(kept_margin(vanilla, vanilla, baseline)[0], 0.05 * (vanilla[0] - baseline))


def test_the_bound_by_hand():
    found = lower_bound([[0, 1, 1], [1, 1, 0]])
    by_unit, by_seed = [0.5, 1, 0.5, -1], [0.25, 0.25]  # with the worst unit
    V = np.var(by_unit, ddof=1) / 4 + np.var(by_seed, ddof=1) / 2
    assert (found.mean, found.n_seeds, found.n_rows) == (pytest.approx(2 / 3), 2, 3)
    assert found.df == pytest.approx(3)  # the seeds do not differ
    assert found.lower == pytest.approx(0.25 - stats.t.ppf(0.95, 3) * math.sqrt(V))


def test_the_degrees_of_freedom_are_those_of_what_varies():
    rng = np.random.default_rng(0)
    rows = rng.choice([0.0, 1.0], size=(1, 200))
    assert lower_bound(np.repeat(rows, 3, axis=0)).df == pytest.approx(200)
    by_seed = np.array([[-0.9], [0.0], [0.9]]) + 0.001 * rng.standard_normal((3, 200))
    assert 2 <= lower_bound(by_seed).df < 2.1


def test_the_order_of_rows_and_seeds_does_not_matter():
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 0.0, 0.05, 1.0], size=(3, 40))
    one, other = lower_bound(x), lower_bound(x[::-1][:, rng.permutation(40)])
    assert one.lower == pytest.approx(other.lower)


@pytest.mark.parametrize(("share", "rows"), [(0.95, 140), (0.8, 40)])
def test_the_rows_that_a_gain_of_40_points_takes(share, rows):
    """As docs/reading-a-rank.md says; half of the dev rows count."""
    for count, passes in ((rows, True), (rows - 5, False)):
        gains = np.arange(count) < 0.4 * count
        assert (lower_bound((1 - share) * gains[None]).lower >= 0) == passes
    page = (Path(__file__).parents[2] / "docs/reading-a-rank.md").read_text()
    assert {0.95: "it takes 280 dev rows", 0.8: "and 80 with `--share 0.8`"}[share] in page


@pytest.mark.parametrize("gain", [0.1, 0.4, 0.9])
def test_the_rows_for_a_proof(gain):
    """As many rows give a bound of 0 or more; a tenth less do not. Rows without a gain never do."""
    margins = 0.05 * (np.arange(20) < 20 * gain)
    rows = rows_for_a_proof(margins)
    assert lower_bound(np.resize(margins, (1, rows))).lower >= 0
    assert lower_bound(np.resize(margins, (1, int(rows / 1.15)))).lower < 0
    assert rows_for_a_proof(-margins) is None
    assert rows_for_a_proof(0 * margins) is None


@pytest.mark.parametrize(("rows", "passes"), [(28, False), (100, False), (250, True)])
def test_few_rows_without_a_difference_certify_nothing(rows, passes):
    """Of n rows without a loss, the exact upper bound of the loss is 1 − 0.05^(1/n); the level allows 2.5 %."""
    baseline = (np.arange(rows) % 2).astype(float)
    right = np.ones((1, rows))
    assert (lower_bound(kept_margin(right, right, baseline)).lower >= 0) == passes
    assert (1 - 0.05 ** (1 / rows) <= 0.025) == passes


def size(rows: int, seeds: int, seed_sd: float, draws: int = 600, two_points: bool = False) -> float:
    """How often a candidate is certified that loses exactly 5 % of the gain on average.

    Vanilla is right on 97 % of the rows, the baseline on half of them. The candidate loses rows, each seed
    with its own rate.
    """
    rng = np.random.default_rng(rows + seeds)
    wrong = 0
    for _ in range(draws):
        baseline = (rng.random(rows) < 0.47).astype(float)
        vanilla = np.repeat(rng.random((1, rows)) < 0.97, seeds, axis=0)
        by_seed = rng.choice([-1, 1], size=(seeds, 1)) if two_points else rng.standard_normal((seeds, 1))
        loss = (0.025 + seed_sd * by_seed) / 0.97
        candidate = vanilla & (rng.random((seeds, rows)) >= loss)
        bound = lower_bound(kept_margin(candidate.astype(float), vanilla.astype(float), baseline))
        wrong += bound.lower >= 0
    return wrong / draws


@pytest.mark.parametrize("rows", [28, 125, 250, 500])
@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.01), (5, 0.01)])
def test_a_candidate_at_the_level_is_certified_in_at_most_5_percent(rows, seeds, seed_sd):
    found = size(rows, seeds, seed_sd)
    assert found <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 600)


def test_one_seed_says_nothing_about_others():
    """With one seed, the variance over seeds is missing; the docstring says so."""
    assert size(500, 1, 0.01) > 0.12


def test_three_seeds_that_are_alike_by_chance_are_believed():
    """Where a seed is one of two kinds, three are of the better kind in an eighth of all draws."""
    assert size(500, 3, 0.02, two_points=True) == pytest.approx(1 / 8, abs=0.04)


@pytest.mark.parametrize("truth", [1, 2, 3, 4, 7, 10, 50, 99, 100])
def test_the_search_finds_the_least_k(truth):
    tested = least_certified_k(lambda k: k >= truth, 100)
    assert min([100, *(k for k, passed in tested.items() if passed)]) == truth
    assert truth == 1 or tested[truth - 1] is False
    assert len(tested) <= 10


def test_the_search_tests_each_k_once_and_none_beyond():
    for max_k, truth in itertools.product((1, 2, 3, 8), range(1, 9)):
        asked = []
        least_certified_k(lambda k: asked.append(k) or k >= truth, max_k)  # noqa: B023
        assert len(set(asked)) == len(asked)
        assert all(1 <= k < max_k for k in asked)
