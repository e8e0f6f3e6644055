"""Measures of prompts from any file, with their nulls."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SHARED, quick

import rankprobe as rp
from rankprobe.errors import RankprobeError
from rankprobe.rank import MEASURES, measure
from rankprobe.reports import analyze, read_matrices

PUBLISHED = {
    "numerical_rank": (100, 100),
    "erank_rv": (93.4, 90.8),
    "stable_rank": (17.6, 17.5),
    "energy_90": (71, 65),
    "gavish_donoho": (10, 14),
}
"""Measures of the MRPC and RTE prompts of Lester et al. (2021), computed independently."""


@pytest.fixture
def prompt(tmp_path):
    """A file with a prompt of three strong directions plus noise."""
    rng = np.random.default_rng(0)
    P = 10 * rng.standard_normal((30, 3)) @ rng.standard_normal((3, 50)) + rng.standard_normal((30, 50))
    np.save(tmp_path / "p.npy", P.astype(np.float32))
    return tmp_path / "p.npy"


def test_values_equal_those_of_measure(prompt):
    table = analyze([prompt])
    values = table.query("matrix == 'P'").set_index("measure")["value"]
    assert values.to_dict() == pytest.approx(measure(np.load(prompt)).to_dict())
    assert set(values.index) == {*MEASURES, "permutation_edge"}


def test_nulls_distinguish_structure_from_noise(prompt, tmp_path):
    np.save(tmp_path / "noise.npy", np.random.default_rng(1).standard_normal((30, 50)))
    table = analyze([prompt, tmp_path / "noise.npy"]).query("matrix == 'P'").set_index(["prompt", "measure"])
    planted, noise = table.loc["p"], table.loc["noise"]
    assert planted.loc["stable_rank", "effect"] < -10
    assert abs(noise.loc["stable_rank", "effect"]) < 4
    assert planted.loc["stable_rank", "shuffled"] > 2 * planted.loc["stable_rank", "value"]
    assert noise.loc["stable_rank", "gaussian"] == pytest.approx(noise.loc["stable_rank", "value"], rel=0.2)
    assert planted.loc["permutation_edge", "value"] == 3
    assert noise.loc["permutation_edge", "value"] <= 1


def test_rows_are_scaled_to_length_one(prompt):
    rows = next(m for m in read_matrices(prompt) if m.matrix == "P_rows")
    np.testing.assert_allclose(np.linalg.norm(rows.values, axis=1), 1)


def test_a_run_has_its_change_and_its_twin(tmp_path):
    run = rp.train(quick(), runs_dir=tmp_path)
    table = analyze([run.path])
    final = table.query("prompt == 'final'")
    assert set(final["matrix"]) == {"P", "dP", "P_rows"}
    assert set(table.query("prompt == 'P0'")["matrix"]) == {"P", "P_rows"}
    last = run.log("steps").iloc[-1]
    P = final.query("matrix == 'P'").set_index("measure")
    assert P.loc["erank_rv", "value"] == pytest.approx(last["P_erank_rv"], rel=1e-4)
    assert P.loc["erank_rv", "twin"] == pytest.approx(last["gaussian_P_erank_rv"], rel=1e-4)
    dP = final.query("matrix == 'dP'").set_index("measure")
    assert dP.loc["stable_rank", "twin"] == pytest.approx(last["gaussian_dP_stable_rank"], rel=1e-4)
    assert table.query("prompt == 'P0'")["twin"].isna().all()


@pytest.mark.parametrize("P", [np.zeros((4, 6)), np.ones((1, 6)), np.ones((5, 1))])
def test_degenerate_matrices_have_finite_measures(tmp_path, P):
    np.save(tmp_path / "p.npy", P)
    values = analyze([tmp_path / "p.npy"]).query("matrix == 'P'").set_index("measure")["value"]
    assert np.isfinite(values).all()
    assert values["numerical_rank"] == min(np.linalg.matrix_rank(P), 1)


def test_no_places_are_refused():
    with pytest.raises(RankprobeError, match="nothing to analyze"):
        analyze([])


def test_published_prompts():
    if not SHARED.is_dir():
        pytest.skip(f"the published prompts are not at {SHARED}")
    places = [SHARED / "prompts" / f"t5_1_1_lm100k_base_{task}.npy" for task in ("mrpc", "rte")]
    table = analyze(places).query("matrix == 'P'").set_index(["place", "measure"])["value"]
    for name, expected in PUBLISHED.items():
        assert tuple(round(table[str(place), name], 1) for place in places) == expected
    edges = [table[str(place), "permutation_edge"] for place in places]
    assert edges == pytest.approx([13, 15], abs=1)
