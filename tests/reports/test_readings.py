"""Measures of prompts from any file, with their nulls."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SHARED, quick

import rankprobe as rp
from rankprobe.errors import RankprobeError
from rankprobe.rank import EDGES, MEASURES, measure, shuffled, signflipped
from rankprobe.reports import analyze, read_matrices, readings

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
    assert set(values.index) == {*MEASURES, *EDGES}


def test_nulls_distinguish_structure_from_noise(prompt, tmp_path):
    np.save(tmp_path / "noise.npy", np.random.default_rng(1).standard_normal((30, 50)))
    table = analyze([prompt, tmp_path / "noise.npy"]).query("matrix == 'P'").set_index(["prompt", "measure"])
    planted, noise = table.loc["p"], table.loc["noise"]
    assert planted.loc["stable_rank", "effect"] < -8
    reading = planted.loc["stable_rank"]
    assert (reading["value"] - reading["shuffled"]) / reading["shuffled_sd"] < -10
    assert abs(noise.loc["stable_rank", "effect"]) < 4
    for null in ("signflip", "shuffled"):
        assert planted.loc["stable_rank", null] > 2 * planted.loc["stable_rank", "value"]
    assert noise.loc["stable_rank", "iid"] == pytest.approx(noise.loc["stable_rank", "value"], rel=0.2)
    assert planted.loc["permutation_edge", "value"] == 3
    assert planted.loc["signflip_edge", "value"] in (2, 3)  # the first two raise its edge to the third
    assert (noise.loc[list(EDGES), "value"] <= 1).all()


def rows_of_unequal_size(seed):
    rng = np.random.default_rng(seed)
    return np.exp(rng.standard_normal((60, 1))) * rng.standard_normal((60, 200))


def test_the_effect_is_against_sign_flips_which_keep_row_scales(tmp_path):
    np.save(tmp_path / "p.npy", rows_of_unequal_size(0))
    table = analyze([tmp_path / "p.npy"]).query("matrix == 'P'").set_index("measure")
    expected = (table["value"] - table["signflip"]) / table["signflip_sd"].where(table["signflip_sd"] > 0)
    np.testing.assert_allclose(table["effect"], expected)
    reading = table.loc["stable_rank"]
    assert abs(reading["effect"]) < 4
    assert abs(reading["value"] - reading["shuffled"]) > 10 * reading["shuffled_sd"]


def test_copies_are_counted_above_edges_of_their_own(tmp_path):
    """Measuring each copy by itself, with its own flips and shuffles, gives about the same means."""
    P = rows_of_unequal_size(1)
    np.save(tmp_path / "p.npy", P)
    table = analyze([tmp_path / "p.npy"]).query("matrix == 'P'").set_index("measure")
    for null, copies in (("signflip", signflipped(P, 20)), ("shuffled", shuffled(P, 20))):
        for edge in EDGES:
            alone = np.mean([measure(copy, seed)[edge] for seed, copy in enumerate(copies)])
            assert table.loc[edge, null] == pytest.approx(alone, abs=0.6), (null, edge)
    assert table.loc["permutation_edge", "signflip"] > 2
    assert table.loc["permutation_edge", "shuffled"] < 1


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
    assert P.loc["erank_rv", "gaussian"] == pytest.approx(last["gaussian_P_erank_rv"], rel=1e-4)
    dP = final.query("matrix == 'dP'").set_index("measure")
    assert dP.loc["stable_rank", "gaussian"] == pytest.approx(last["gaussian_dP_stable_rank"], rel=1e-4)
    initial = table.query("prompt == 'P0'")
    assert initial["gaussian"].isna().all()
    assert initial["P0"].isna().all()
    assert dP["P0"].isna().all()
    parts = dict(list(table.groupby(["prompt", "matrix"])))
    for matrix in ("P", "P_rows"):
        for prompt in ("final", "best"):
            assert parts[prompt, matrix]["P0"].tolist() == parts["P0", matrix]["value"].tolist()
    assert P.loc[list(EDGES), "gaussian"].isna().all()


def test_each_twin_in_the_log_has_a_column(tmp_path, monkeypatch):
    """Here, the matrices of the run itself stand for those of a second twin."""
    monkeypatch.setattr(readings, "TWINS", {"gaussian": "gaussian_", "itself": "", "absent": "absent_"})
    run = rp.train(quick(), runs_dir=tmp_path)
    table = analyze([run.path])
    assert "absent" not in table
    final = table.query("prompt == 'final' and matrix == 'P'").set_index("measure").loc[list(MEASURES)]
    assert final["itself"].to_dict() == pytest.approx(final["value"].to_dict(), rel=1e-4)
    assert final.loc["erank_rv", "gaussian"] != pytest.approx(final.loc["erank_rv", "itself"], rel=1e-4)


def test_files_have_no_twin_and_no_initial_prompt(prompt):
    table = analyze([prompt])
    assert "gaussian" not in table
    assert table["P0"].isna().all()


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
    edges = {name: [table[str(place), name] for place in places] for name in EDGES}
    assert edges["permutation_edge"] == pytest.approx([13, 15], abs=1)
    assert edges["signflip_edge"] == pytest.approx([2, 1], abs=1)
