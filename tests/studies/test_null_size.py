"""Verdicts without a task: seldom above or below all twins, often so of the Gaussian twin alone.

The full study takes some minutes: `python -m rankprobe.studies null-size`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from rankprobe.studies.null_size import (
    BATCH,
    KINDS,
    PULLS,
    READINGS,
    SHAPE,
    example_gradients,
    null_runs,
    power,
    size,
)
from rankprobe.twins import TWINS


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    return null_runs(("lognormal rows", "AR(0.9)"), range(20))


def test_all_twins_together_keep_the_level(few):
    found = size(few)
    assert (found.groupby("kind").mean().sum(axis=1) <= 0.02).all()


def test_the_gaussian_twin_alone_does_not(few):
    assert size(few, ["gaussian"]).loc[("AR(0.9)", "n_positive"), "above"] > 0.5


@pytest.mark.parametrize("kind", [*KINDS, "noisy AR(0.9)"])
def test_gradients_are_what_their_kind_says(kind):
    examples = np.stack(list(example_gradients(kind, 3)))
    assert examples.shape == (100, BATCH, *SHAPE)
    G = examples.sum(axis=1)
    lag_one = np.mean([np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairwise(G)])
    expected = {"AR(0.4)": 0.32, "AR(0.9)": 0.72, "noisy AR(0.9)": 0.36}.get(kind, 0)
    assert lag_one == pytest.approx(expected, abs=0.05)
    signs = np.random.default_rng(0).choice([-1, 1], (100, BATCH, 1, 1))
    flipped = (signs * examples).sum(axis=1)
    assert abs(np.mean([np.vdot(a, b) for a, b in pairwise(flipped)])) < 0.1 * np.mean(flipped**2) * 640
    if kind in ("iid", *[name for name in KINDS if "AR" in name]):
        assert G.var() == pytest.approx(1, abs=0.1)
    rows, columns = np.linalg.norm(G, axis=(0, 2)), np.linalg.norm(G, axis=(0, 1))
    assert (rows.max() / rows.min() > 5) == (kind == "lognormal rows")
    assert (columns.max() / columns.min() > 20) == (kind == "anisotropic columns")
    assert (np.abs(examples).max() > 50) == (kind == "heavy tails")


def test_gradients_that_react_to_p_differ_from_all_twins_without_a_task():
    """So a verdict about a run is none about its task."""
    found = size(null_runs(tuple(PULLS), range(10)), draws=40)
    assert found.loc[("pull to P0", "P_erank_rv"), "above"] > 0.8
    assert found.loc[("pull to 0", "P_erank_rv"), "below"] > 0.8
    assert found.loc[("pull to 0", "n_positive"), "below"] > 0.8


def fake(seeds: int = 40) -> pd.DataFrame:
    """Readings of which no verdict should be above or below: the run and its twins are alike."""
    rng = np.random.default_rng(0)
    rows = [
        {"kind": "iid", "reading": name, "seed": seed, "run": rng.normal(50, 5)}
        | {kind: rng.normal(50, 5) for kind in TWINS}
        for name in READINGS
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def test_power_grows_with_effect_and_seeds():
    found = power(fake(), effects=(0, 2, 8), seeds=(3, 5), draws=100)
    assert (found[(0, 5)] <= 0.02).all()
    assert (found[(2, 3)] < found[(2, 5)]).all()
    assert (found[(2, 5)] < found[(8, 5)]).all()
    assert (found[(8, 5)] > 0.95).all()


def test_an_effect_is_in_standard_deviations_of_the_differences():
    runs = fake(2000)
    runs["haar"] += np.random.default_rng(1).normal(0, 12, len(runs))  # the difference that varies most
    one = power(runs, effects=(2,), seeds=(5,))[(2, 5)]
    moved = runs.assign(run=runs["run"] + 2 * (runs["run"] - runs["haar"]).std())
    assert one.to_numpy() == pytest.approx(size(moved)["above"].to_numpy(), abs=0.03)
