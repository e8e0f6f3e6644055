"""Which names a hook may give to its columns."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import quick, started

import rankprobe as rp
from rankprobe.config import all_settings
from rankprobe.errors import ColumnTaken, RunFailed
from rankprobe.runs import truncation_file
from rankprobe.runs.checksums import write_checked_json

SETTINGS = list(all_settings())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """With every optional column: a held-back half of dev, and a functional rank."""
    run = rp.train(quick(report_split="half"), runs_dir=tmp_path_factory.mktemp("finished"), name="run")
    found = {"functional_rank": [{"matrix": "P", "functional_rank": 3}], "curves": []}
    write_checked_json(run.path / truncation_file(), found)
    return run


def returns(column):
    return lambda record: {column: 0.0}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A member that has not recorded a step, and into which any hook can be put."""
    return started(quick(rank_every=5), tmp_path_factory.mktemp("begun"))


def check_refused(begun, column, why, step=0):
    begun.recorder.hooks = [returns(column)]
    with pytest.raises(
        ColumnTaken, match=f"a hook returned the column '{column}', which {why}; choose another"
    ):
        begun.recorder.record(step, {}, [], last=False)
    assert {path.name for path in begun.run.path.iterdir()} == {"manifest.json"}


@pytest.mark.parametrize("column", SETTINGS)
def test_a_setting_of_any_method_is_refused_at_the_first_step(begun, column):
    check_refused(begun, column, "is a setting")


def test_every_column_of_the_frames_is_refused_at_the_first_step(begun, finished):
    frames = rp.load_runs(finished.path.parent)
    columns = {*frames.runs, *frames.evals} - {*SETTINGS} - {"loss", "lr"}
    assert {"run_id", "status", "path", "baseline", "report_best", "functional_rank"} <= columns
    # Columns of the updates themselves are there from the first update on; those of evaluations have
    # a frame of their own.
    columns -= {name for name in columns if name.startswith("grad_norm")}
    columns -= {*frames.evals} - {*frames.runs}
    for column in columns:
        check_refused(begun, column, "the (log has|frames of load_runs have) already")


@pytest.mark.parametrize(
    "column", ["P_erank_rv", "gaussian_P_erank_rv", "gaussian_n_positive", "dP_stable_rank"]
)
def test_a_reading_that_this_step_has_not_is_refused(begun, column):
    check_refused(begun, column, "the log has already", step=3)


def test_a_refused_column_ends_the_run_and_names_no_rate(tmp_path):
    with pytest.raises(
        RunFailed, match=r"run 'run' failed at step 0: .*'seed', which is a setting"
    ) as failed:
        rp.train(quick(), runs_dir=tmp_path, name="run", hooks=[returns("seed")])
    assert "lower" not in str(failed.value)
    run = rp.find_run("run", tmp_path)
    assert (run.status, sorted(path.name for path in run.path.glob("*.*"))) == ("failed", ["manifest.json"])
    (resumed,) = rp.resume([run], hooks=[returns("my_seed")])
    assert resumed.log("steps")["my_seed"].tolist() == 7 * [0.0]


def test_a_log_that_has_the_name_of_a_setting_gives_one_column(tmp_path, finished):
    path = tmp_path / "run"
    path.mkdir()
    manifest = json.loads((finished.path / "manifest.json").read_text())
    manifest.pop("sha256")
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "steps.jsonl").write_text('{"step": 0, "seed": 3.0, "mine": 1.0}\n')
    with pytest.warns(
        UserWarning, match="left out: column 'seed' of the steps of run 'run', because a setting has"
    ):
        steps = rp.load_runs(tmp_path).steps
    assert steps.columns.is_unique
    assert steps[["seed", "mine"]].iloc[0].tolist() == [42, 1.0]


def test_a_twin_has_not_moved_at_step_0_where_a_gpu_rounds_a_stack_of_prompts_differently(tmp_path):
    member = started(quick(twin="gaussian"), tmp_path)
    twins = member.recorder.twins
    twins.P = twins.P * (1 + 1e-7 * torch.randn_like(twins.P))
    row = member.recorder.record(0, {}, [], last=False)
    member.recorder.close()
    assert row["gaussian_dP_stable_rank"] == row["dP_stable_rank"] == 0
