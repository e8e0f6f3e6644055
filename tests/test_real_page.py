"""The page on a real language model says what its kept logs say."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

import rankprobe as rp
from rankprobe.config.folders import config_of
from rankprobe.sweeps import configs_of, load_spec

ROOT = Path(__file__).parent.parent
PAGE = " ".join((ROOT / "docs" / "real-model.md").read_text().replace("\n>", "").split())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The kept runs, in the order of their seeds."""
    folder = tmp_path_factory.mktemp("kept")
    with tarfile.open(ROOT / "figures" / "real.tar.xz") as kept:
        kept.extractall(folder, filter="data")
    return sorted(rp.list_runs(folder / "real"), key=lambda run: run.manifest["seed"])


def test_they_are_runs_of_the_experiment_on_a_real_model(runs):
    planned = configs_of(
        load_spec(ROOT / "experiments/real/emergence.toml"),
        overrides={"data": runs[0].manifest["config"]["data"]},
    )
    assert {config_of(run).run_id for run in runs} <= {config.run_id for config in planned}
    for run in runs:
        assert run.status == "finished"
        assert run.manifest["backbone"]["label"] == "SmolLM2-135M-Instruct, from Q4_1 weights"
        assert not run.manifest["backbone"]["random_weights"]
        assert run.manifest["data"]["label"] == "CB"


def test_the_findings_are_those_of_the_logs(runs):
    assert len(runs) >= 3
    known = [sentence for sentence in rp.findings(runs) if "is not known yet" not in sentence]
    assert len(known) == 2
    for sentence in known:
        assert " ".join(sentence.split()) in PAGE


def test_the_scores_are_those_of_the_logs(runs):
    """A row per seed: the report half of dev at the last step, decoded and ranked, and its baseline."""
    for run in runs:
        evals = run.log("evals").query("split == 'report' and metric == 'accuracy'")
        last = evals[evals["step"] == evals["step"].max()].set_index("scoring")
        greedy, rank = last.loc["greedy"], last.loc["rank"]
        row = (
            f"| {run.manifest['seed']} | {greedy['value']:.1f} | {greedy['n_invalid']:.0f} of "
            f"{greedy['n_examples']:.0f} | {rank['value']:.1f} | {greedy['baseline']:.1f} |"
        )
        assert row in PAGE
    assert re.search(r"\| seed \| decoded \| invalid \| ranked \| baseline \|", PAGE)
