"""analyze and truncate, end to end."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED, quick
from test_use import refused, run

import rankprobe as rp
from rankprobe.runs import write_prompt


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.standard_normal((12, 20)))
    return tmp_path


def test_analyze_prints_a_line_per_matrix_with_its_sign_flip_null(here, capsys):
    run("analyze", "*.npy", "--output", "out.csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["numerical", "effective", "stable"]
    assert [lines[1], lines[4]] == ["a, 12 × 20", "b, 12 × 20"]
    assert [line.split()[0] for line in lines[2:4] + lines[5:7]] == ["P", "P_rows"] * 2
    assert lines[2].split()[1:3] == ["12", "(12)"]
    table = pd.read_csv(here / "out.csv").query("prompt == 'a' and matrix == 'P'").set_index("measure")
    value, null = table.loc["erank_rv", ["value", "signflip"]]
    assert lines[2].split()[3:5] == [f"{value:.3g}", f"({null:.3g})"]
    assert lines[8] == "In brackets: mean of 20 copies of the matrix with random signs."
    assert "P0" not in "".join(lines)


def test_analyze_prints_the_initial_prompt_and_the_twin_below_a_matrix(here, capsys):
    trained = rp.train(quick(), runs_dir=here / "runs", name="one")
    run("analyze", "one", "--output", "out.csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "one final, 8 × 128"
    table = pd.read_csv(here / "out.csv").query("prompt == 'final' and matrix == 'P'").set_index("measure")
    for line, null in ((lines[3], "P0"), (lines[4], "gaussian")):
        name, numerical, effective, *_ = line.split()
        assert (name, numerical, effective) == (null, "8", f"{table.loc['erank_rv', null]:.3g}")
    twins = ["gaussian", "haar", "flip_example", "flip_block"]
    assert [line.split()[0] for line in lines[4:8]] == twins
    assert max(map(len, lines[2:14])) <= 100
    assert lines[4].split()[-1] == "-"  # the log has no matrix of the twin to shuffle
    assert [line.split()[0] for line in lines[8:14]] == ["dP", *twins, "P_rows"]
    assert "Below a matrix: the same reading of P0, and of each noise twin at the last step." in lines
    assert max(map(len, lines[: lines.index(trained.id) - 1])) <= 100


def test_the_table_of_full_size_prompts_has_at_most_100_columns(here, capsys):
    np.save(here / "p.npy", np.random.default_rng(0).standard_normal((100, 768)))
    run("analyze", "p.npy")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("name", ["out.csv", "sub/out.parquet", "out.json"])
def test_analyze_writes_every_reading(here, capsys, name):
    run("analyze", "a.npy", "--output", name)
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[name.split(".")[1]]
    table = read(here / name)
    assert len(table) == 2 * 14
    assert {"value", "signflip", "effect", "P0", "shuffled", "iid"} <= set(table.columns)
    assert "exists; choose another name" in refused(capsys, "analyze", "a.npy", "--output", name)


def test_analyze_draws_spectra(here, capsys):
    run("analyze", "a.npy", "b.npy", "--plot", "spectra.png")
    assert (here / "spectra.png").read_bytes()[:4] == b"\x89PNG"
    for command in (("analyze", "a.npy"), ("calibrate",)):
        assert "expected .png, .svg, .pdf" in refused(capsys, *command, "--plot", "spectra.xyz")


def test_analyze_compares_directions(here, capsys):
    run("analyze", "a.npy", "b.npy", "--directions", "3")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["a", "b"])
    assert line.split()[4] == "0.15"  # the expected similarity of random subspaces: 3 of 20
    assert "there is only one; give more" in refused(capsys, "analyze", "a.npy", "--directions", "3")


def titles(capsys) -> list[str]:
    """The titles of prompts; the shape is behind the title."""
    lines = capsys.readouterr().out.splitlines()
    return [line.rpartition(", ")[0] for line in lines if " × " in line]


def test_analyze_reads_prompts_of_torch(here, capsys):
    P = torch.randn(6, 10, generator=torch.manual_seed(0))
    torch.save(P, here / "bare.pt")
    torch.save({"soft.weight": P[None], "step": torch.tensor(3)}, here / "state")
    torch.save({"x": P, "y": 2 * P}, here / "two.bin")
    run("analyze", "*.pt", "state", "two.bin:y", "./two.b*:x")
    assert titles(capsys) == ["bare", "state soft.weight", "two.bin y", "two.bin x"]
    run("analyze", "two.bin:*")
    assert titles(capsys) == ["two.bin x", "two.bin y"]
    message = refused(capsys, "analyze", "two.bin")
    assert (
        "'two.bin' holds several prompts: x (6, 10), y (6, 10); save one of them, or choose one by name: 'two.bin:x'"
        in message
    )
    assert "no prompt 'none.bin:x': no such file or folder" in refused(capsys, "analyze", "none.bin:x")


def test_titles_tell_prompts_of_one_name_apart(here, capsys):
    P = torch.randn(6, 10, generator=torch.manual_seed(0))
    places = ["one/cb/p.pt", "one/rte/p.pt", "two/cb/p.pt", "two/cb/p.npy", "p.v1", "p.v2", "alone.pt"]
    for place in places:
        (here / place).parent.mkdir(parents=True, exist_ok=True)
        torch.save(P, here / place)
    run("analyze", *places)
    short = ["one/cb/p.pt", "rte/p.pt", "two/cb/p.pt", "p.npy", "p.v1", "p.v2", "alone"]
    assert titles(capsys) == short
    run("analyze", *[str(here / place) for place in places], "--directions", "2", "--plot", "spectra.png")
    table = capsys.readouterr().out
    assert all(f"{title} " in table for title in short)
    for folder in ("one", "two"):
        write_prompt(P.numpy(), here / folder / "adapter", "peft", model="x", causal=True)
    run("analyze", "one/adapter", "two/adapter")
    assert titles(capsys) == ["one/adapter prompt", "two/adapter prompt"]


def test_a_place_given_twice_is_measured_once(here, capsys):
    run("analyze", "a.npy", "*.npy", "./a.npy", str(here / "a.npy"))
    assert titles(capsys) == ["a", "b"]


def test_the_title_of_the_current_folder_is_its_name(here, capsys, monkeypatch):
    for name in ("mine", "other"):
        write_prompt(np.eye(6, 10), here / name, "peft", model="x", causal=True)
    monkeypatch.chdir(here / "mine")
    run("analyze", ".", "../other", "adapter_model.safetensors")
    assert titles(capsys) == ["mine prompt", "other prompt", "adapter_model.safetensors prompt"]


def test_names_of_matrices_with_colons(here, capsys):
    """As in the variable names of TensorFlow."""
    np.savez(here / "tf.npz", **{"soft:0": np.eye(6, 10), "bias:0": np.eye(3, 10)})
    message = refused(capsys, "analyze", "tf.npz")
    assert (
        "prompts: soft:0 (6, 10), bias:0 (3, 10); save one of them, or choose one by name: 'tf.npz:soft:0'"
        in message
    )
    run("analyze", "tf.npz:soft:0", "*.npz:bias:*")
    assert titles(capsys) == ["tf.npz soft:0", "tf.npz bias:0"]


def test_analyze_in_the_home_folder(here, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    run("analyze", "~/a.npy", "~/*.npy", "~/b.npy")
    assert titles(capsys) == ["a", "b"]


def test_prompts_called_final_are_not_runs(here, capsys):
    """They have no noise twin."""
    trained = rp.train(quick(steps=1), runs_dir=here / "runs", name="one")
    np.save(here / "final.npy", trained.prompt())
    run("analyze", "final.npy", "runs/one/prompt.safetensors")
    assert titles(capsys) == ["final", *(f"prompt.safetensors {name}" for name in ("P0", "best", "final"))]


def test_all_published_prompts_in_one_call(capsys):
    places = sorted((SHARED / "prompts" / "thunlp").glob("*.pt"))
    if not places:
        pytest.skip(f"the published prompts are not at {SHARED}")
    run("analyze", *map(str, places))
    assert titles(capsys) == [place.stem for place in places]
    assert len(places) == 34


CALIBRATED_METHODS = {(): (3, {0, 1, 5, 20}), ("--full",): (8, {0, 1, 2, 5, 10, 20, 50, 100})}
"""Number of methods and planted ranks, by flag."""


@pytest.mark.parametrize("flags", CALIBRATED_METHODS)
def test_calibrate_prints_what_each_method_recovers(here, capsys, monkeypatch, flags):
    from rankprobe.studies import calibration as module

    whole, asked = module.calibrate, []

    def quickly(**given):
        asked.append(given)
        return whole(**given | {"planted": (0, 2), "shape": (10, 12)})

    monkeypatch.setattr(module, "calibrate", quickly)
    run("calibrate", *flags, "--seed", "1", "--steps", "10", "--output", "out.csv", "--plot", "out.png")
    told = capsys.readouterr().out
    assert "probe, gate relu, 1 seed, signal-to-noise 0.2" in told
    assert "probe, gate relu, orthonormal U and V, 1 seed, " in told
    assert "count on noise alone: " in told
    count, ranks = CALIBRATED_METHODS[flags]
    assert [{*given["planted"]} for given in asked] == [ranks] * count
    assert ("dpt" in set(pd.read_csv(here / "out.csv")["method"])) == bool(flags)
    assert (here / "out.png").exists()


def test_analyze_prints_findings_and_truncate_adds_to_them(here, capsys):
    trained = rp.train(quick(), runs_dir=here / "runs")
    run("analyze", trained.id)
    before = capsys.readouterr().out
    assert "of 8 diagonal entries stayed positive; the twins kept" in before
    assert "measure it: rankprobe truncate runs/" in before
    run("truncate", trained.id, "--k", "1", "--k", "4")
    shown = capsys.readouterr().out
    assert "top of P" in shown
    assert [line.split()[0] for line in shown.splitlines()[2:6]] == ["k", "1", "4", "8"]
    run("analyze", trained.id)
    assert "rankprobe truncate" not in capsys.readouterr().out
    run("truncate", trained.id, "--order", "sensitivity")
    shown = capsys.readouterr().out
    assert "accuracy with k singular directions, most sensitive first, answers decoded, miniature CB" in shown
    assert {row["order"] for row in (trained.truncation() or {})["curves"]} == {"sensitivity"}
    run("plot", "truncation")
    provenance = json.loads((here / "figures" / "truncation.json").read_text())
    assert [each["run_id"] for each in provenance["runs"]] == [trained.id]


def test_an_exact_result_stays_and_truncate_says_so(here, capsys, monkeypatch):
    trained = rp.train(quick(steps=1), runs_dir=here / "runs")

    def right_from_rank_3(eval_set, backbone, prompt_inputs, batch_size, scoring):
        right = [eval_set.task.target(example, eval_set.targets) for example in eval_set.data.examples]
        ranks = [torch.linalg.matrix_rank(soft.P.double(), rtol=1e-6) for soft in prompt_inputs]
        return [right if rank >= 3 else ["nothing"] * len(right) for rank in ranks]

    monkeypatch.setattr("rankprobe.evaluation.truncation.answer", right_from_rank_3)
    run("truncate", trained.id)
    exact = trained.truncation()
    capsys.readouterr()
    run("truncate", trained.id, "--k", "1")
    assert capsys.readouterr().out.splitlines()[-1] == (
        "not saved: the exact result of this prompt stays; truncate without --k replaces it"
    )
    assert trained.truncation() == exact


def test_a_run_without_a_prompt_is_left_out_if_another_place_has_one(here, capsys):
    rp.train(quick(), runs_dir=here / "runs", name="good")
    shutil.copytree(here / "runs" / "good", here / "runs" / "bad")
    (here / "runs" / "bad" / "prompt.safetensors").unlink()
    rp.find_run("bad").update({"status": "failed"})
    problem = "run 'bad' (failed) has no prompt.safetensors; train it again"
    run("analyze", "runs/*", "--output", "out.csv")
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [f"left out: {problem}"]
    assert "good" in shown.out.splitlines()[1]
    assert set(pd.read_csv(here / "out.csv")["place"]) == {"runs/good"}
    run("analyze", "runs/*", "--json")
    assert json.loads(capsys.readouterr().out)["left_out"] == [problem]
    for places in (["bad"], ["bad", "runs/b*"]):
        assert refused(capsys, "analyze", *places).strip().endswith(problem)


def test_bad_input(here, capsys):
    assert "no prompt 'nowhere'" in refused(capsys, "analyze", "nowhere")
    assert "expected .csv, .parquet, .json" in refused(capsys, "analyze", "a.npy", "--output", "out.txt")
    np.save(here / "bad.npy", np.array([[1.0, np.nan]]))
    assert "holds NaN or infinite entries" in refused(capsys, "analyze", "bad.npy")
    np.save(here / "none.npy", np.zeros((0, 5)))
    assert "expected a matrix (n, d)" in refused(capsys, "analyze", "none.npy")
    (here / "torn.safetensors").write_bytes(b"\x00" * 10)
    refused(capsys, "analyze", "torn.safetensors")
