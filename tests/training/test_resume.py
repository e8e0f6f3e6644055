"""SIGKILL at any instant, then resume: logs and prompts equal an undisturbed run's, bit for bit.

What was lost or changed in between is refused by its name.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import assert_equal_runs, quick
from killed import KILLED, LAST_KILL

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.errors import RankprobeError, RunFailed, RunInterrupted
from rankprobe.runs import CHECKPOINTS, LOGS, provenance
from rankprobe.runs.checkpoint import (
    checkpoint_path,
    checkpoint_steps,
    last_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from rankprobe.training import checkpoints, loop, run_state
from rankprobe.training.checkpoints import relative_distance
from rankprobe.training.gradients import STATISTICS
from rankprobe.training.resume import config_to_resume
from rankprobe.training.session import open_session

SCRIPT = Path(__file__).parent / "killed.py"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return rp.train(quick(**KILLED), runs_dir=tmp_path_factory.mktemp("undisturbed"), name="run")


def start(runs_dir, where, count) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(runs_dir), where, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("where", "count", "left"),
    [
        ("hook", 0, {"manifest.json"}),  # before the first row and the first checkpoint
        ("hook", 13, {"checkpoint/step-10.safetensors", "steps.jsonl"}),  # between checkpoints
        ("hook", 40, {"steps.jsonl"}),  # in the last step
        ("fsync", 9, {"steps.jsonl", "checkpoint/step-0.safetensors"}),  # while the logs are synced
        (
            "replace:step-5.safetensors",
            1,
            {"checkpoint/.step-5.safetensors.*.partial"},
        ),  # a checkpoint not yet renamed
        (
            "replaced:step-10.safetensors",
            1,
            {"checkpoint/step-10.safetensors"},
        ),  # new checkpoint, old manifest
        ("replaced:steps.parquet", 1, {"steps.jsonl", "steps.parquet"}),  # compaction: a log stands twice
        (
            "replace:evals.parquet",
            1,
            {"spectra.parquet", "evals.jsonl"},
        ),  # compaction: the third log is not done
    ],
)
def test_killed_at(tmp_path, undisturbed, where, count, left):
    child = start(tmp_path, where, count)
    output, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, output
    run = rp.find_run("run", tmp_path)
    assert run.status == "killed"
    assert all(list(run.path.glob(name)) for name in left), "the kill fell elsewhere: count again"
    rp.resume([run])
    assert run.status == "finished"
    assert_equal_runs(run, undisturbed)
    assert not list(run.path.rglob("*.partial"))


def test_killed_by_somebody_else_twice(tmp_path, undisturbed):
    kills = random.Random().sample(range(1, LAST_KILL + 1), 2)
    for step in sorted(kills):
        child = start(tmp_path, "resume" if (tmp_path / "run").exists() else "never", 0)
        while child.poll() is None and steps_logged(tmp_path) < step:
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    run = rp.find_run("run", tmp_path)
    assert run.status == "killed", f"kills at {kills}"
    rp.resume([run])
    assert_equal_runs(run, undisturbed)


def steps_logged(runs_dir: Path) -> int:
    log = runs_dir / "run" / "steps.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


# What the checkpoint relies on

SHORT = {"method": "probe", "checkpoint_every": 2, "eval_every": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return rp.train(quick(**SHORT), runs_dir=tmp_path_factory.mktemp("whole"), name="run")


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """A run that was stopped after step 3; `stopped` gives each test its own."""

    def stop(record):
        if record.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    runs_dir = tmp_path_factory.mktemp("stopped")
    with pytest.raises(RunInterrupted):
        rp.train(quick(**SHORT), runs_dir=runs_dir, name="run", hooks=[stop])
    return runs_dir / "run"


@pytest.fixture
def stopped(stopped_once, tmp_path):
    return rp.Run(Path(shutil.copytree(stopped_once, tmp_path / "run")))


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("damage", ["lost", "flipped"])
def test_a_log_that_was_lost_or_changed_is_refused_by_name(stopped, name, damage, capsys):
    log = stopped.path / f"{name}.jsonl"
    if damage == "lost":
        log.unlink()
    else:
        text = log.read_text()
        at = text.index(".") + 1
        log.write_text(text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :])
    before = content(stopped.path)
    with pytest.raises(SystemExit) as stop:
        main(["resume", str(stopped.path)])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    what = "is missing, and its" if damage == "lost" else "has other rows that its"
    assert line.startswith(f"error: {log} {what} checkpoint relies on")
    assert content(stopped.path) == before


def test_a_log_that_goes_away_while_it_is_written_is_refused(tmp_path):
    def remove(record):
        if record.step == 3:
            (tmp_path / "run" / "evals.jsonl").unlink()

    with pytest.raises(RankprobeError, match=r"evals.jsonl was removed or changed while the run wrote it"):
        rp.train(quick(**SHORT), runs_dir=tmp_path, name="run", hooks=[remove])
    assert rp.find_run("run", tmp_path).status == "failed"


def test_a_checkpoint_of_an_earlier_version_notes_no_checksums(stopped, whole):
    folder = stopped.path / CHECKPOINTS
    step = last_checkpoint(folder)
    tensors, facts = load_checkpoint(folder, step)
    logs = {name: noted["bytes"] for name, noted in facts["logs"].items()}
    assert all(logs.values())
    checkpoint_path(folder, step).unlink()
    save_checkpoint(folder, step, tensors, facts | {"logs": logs})
    rp.resume([stopped])
    assert_equal_runs(stopped, whole)


@pytest.mark.parametrize("compacted", [1, 2, 3])
@pytest.mark.parametrize("then", ["resumed", "stopped again"])
def test_a_run_that_was_compacting_its_logs_goes_on_from_an_earlier_checkpoint(
    tmp_path, whole, monkeypatch, compacted, then
):
    """Its last checkpoint is damaged, so rows are appended to logs that were already made into Parquet files."""
    compact, done = checkpoints.compact, []

    def stopping(path):
        if len(done) == compacted:
            raise OSError("no more")
        done.append(path)
        compact(path)

    monkeypatch.setattr(checkpoints, "compact", stopping)
    if compacted == 3:
        monkeypatch.setattr(checkpoints, "drop_old_checkpoints", lambda *_: stopping(tmp_path))
    with pytest.raises(RunFailed, match="no more"):
        rp.train(quick(**SHORT), runs_dir=tmp_path, name="run")
    monkeypatch.undo()
    run = rp.find_run("run", tmp_path)
    assert len(list(run.path.glob("*.parquet"))) == compacted
    last = checkpoint_path(run.path / CHECKPOINTS, 6)
    last.write_bytes(last.read_bytes()[:-9])
    if then == "stopped again":  # before it has another checkpoint
        monkeypatch.setattr(loop, "checkpoint", lambda state: stopping(tmp_path))
        with pytest.warns(UserWarning, match="go on from step 4"), pytest.raises(RunFailed, match="no more"):
            rp.resume([run])
        monkeypatch.undo()
        rp.resume([run])
    else:
        with pytest.warns(UserWarning, match="go on from step 4"):
            rp.resume([run])
    assert run.status == "finished"
    assert_equal_runs(run, whole)


# Another machine


def otherwise(monkeypatch, change, seed=0):
    """Have methods start from changed parameters and buffers, and from another seed."""
    build, generator = run_state.build, run_state.torch_generator

    def changed(*given):
        method = build(*given)
        for tensor in (*method.parameters(), *(b for name, b in method.named_buffers() if name == "P0")):
            tensor.data *= 1 + change
        return method

    monkeypatch.setattr(run_state, "build", changed)
    monkeypatch.setattr(run_state, "torch_generator", lambda given, *at: generator(given + seed, *at))


def notes(run):
    return [note for note in run.manifest["notes"] if note.startswith("resumed elsewhere")]


def test_a_start_that_differs_by_rounding_is_taken_from_the_checkpoint(stopped, monkeypatch):
    step = last_checkpoint(stopped.path / CHECKPOINTS)
    saved = load_checkpoint(stopped.path / CHECKPOINTS, step)[0]["P0"]
    otherwise(monkeypatch, 2e-5)
    rp.resume([stopped])
    (note,) = notes(stopped)
    assert note == (
        "resumed elsewhere after step 3 (initial prompt differs by 6e-05 of its norm); its later steps can "
        "differ from those of an uninterrupted run by rounding"
    )
    np.testing.assert_array_equal(stopped.prompt("P0"), saved)


def test_what_a_method_adds_to_its_start_is_added_to_the_saved_one(tmp_path, monkeypatch):
    def stop(record):
        if record.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    config = quick(method="subspace", dimension=4)
    with pytest.raises(RunInterrupted):
        rp.train(config, runs_dir=tmp_path, name="run", hooks=[stop])
    run = rp.find_run("run", tmp_path)
    otherwise(monkeypatch, 2e-5)
    rp.resume([run])
    assert notes(run)
    monkeypatch.undo()
    method = run_state.new_optimization(config, open_session([config])).method
    theta = torch.from_numpy(run.tensors()["factor.theta"])
    np.testing.assert_array_equal(run.prompt(), method.P0 + (method.R @ theta).view_as(method.P0))


@pytest.mark.parametrize(("change", "seed"), [(5e-5, 0), (0.0, 1)])
def test_another_start_is_refused(stopped, monkeypatch, change, seed):
    before = content(stopped.path)
    otherwise(monkeypatch, change, seed)
    with pytest.raises(RankprobeError, match="its initial prompt is not what it was"):
        rp.resume([stopped])
    assert content(stopped.path) == before


@pytest.mark.parametrize(
    ("P", "saved", "distance"),
    [
        (torch.ones(2, 2), torch.ones(2, 2), 0),
        (torch.full((2, 2), 1.5), torch.ones(2, 2), 0.5),
        (torch.ones(2, 2), torch.zeros(2, 2), math.inf),
        (torch.zeros(2, 2), torch.zeros(2, 2), 0),
        (torch.ones(2, 3), torch.ones(3, 2), math.inf),
        (torch.ones(0, 3), torch.ones(0, 3), 0),
    ],
)
def test_the_distance_of_two_starts(P, saved, distance):
    assert relative_distance(P, saved) == distance


def test_a_start_that_is_no_number_equals_none():
    assert math.isnan(relative_distance(torch.full((2, 2), math.nan), torch.ones(2, 2)))


def test_the_other_machine_is_noted_once(stopped, monkeypatch):
    def stop(record):
        os.kill(os.getpid(), signal.SIGINT)

    here, versions = provenance.machine("cpu"), provenance.versions()
    assert notes(stopped) == []
    monkeypatch.setattr(provenance, "process", lambda: {"pid": 1, "host": "node7"})
    monkeypatch.setattr(
        provenance, "machine", lambda device: {**here, "threads": 96, "OMP_NUM_THREADS": "96"}
    )
    monkeypatch.setattr(provenance, "versions", lambda: {**versions, "torch": "3.0"})
    with pytest.raises(RunInterrupted):
        rp.resume([stopped], hooks=[stop])
    monkeypatch.setattr(provenance, "versions", lambda: {**versions, "torch": "4.0"})
    rp.resume([stopped])
    (note,) = notes(stopped)
    assert f"after step 3 (host node7, was {os.uname().nodename}, threads 96, was {here['threads']}, " in note
    assert f"torch 3.0, was {versions['torch']});" in note
    assert [each["versions"]["torch"] for each in stopped.manifest["resumed"]] == ["3.0", "4.0"]


def test_a_resume_where_it_was_started_is_not_noted(stopped, whole):
    rp.resume([stopped])
    assert stopped.manifest["notes"] == whole.manifest["notes"]
    assert_equal_runs(stopped, whole)


def test_a_run_of_a_gpu_goes_on_where_there_is_none(stopped, whole, capsys):
    """Only the manifest says that it was trained on a GPU, so the result is that of the CPU, bit for bit."""
    config = stopped.manifest["config"]
    stopped.update({"config": config | {"device": "cuda:99"}})
    with pytest.raises(SystemExit) as stop:
        main(["resume", str(stopped.path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: run 'run' was trained on device 'cuda:99', which cannot be used here (")
    assert error.endswith(f"; choose another: rankprobe resume {stopped.path} --device auto\n")
    assert stopped.manifest["resumed"] == []
    with pytest.raises(SystemExit) as stop:
        main(["resume", str(stopped.path), "--device", "cpu"])
    assert not stop.value.code
    assert stopped.manifest["config"]["device"] == "cuda:99"  # what it was started on
    assert stopped.manifest["resumed"][0]["machine"]["device"] == "cpu"
    assert_equal_runs(stopped, whole)


def test_another_device_replaces_a_device_map_and_keeps_the_dtype(stopped):
    config = stopped.manifest["config"]
    stopped.update({"config": config | {"device": "auto", "device_map": "auto", "dtype": "bfloat16"}})
    here = config_to_resume(stopped, "cpu")
    assert (here.device, here.device_map, here.dtype) == ("cpu", None, "bfloat16")
    assert config_to_resume(stopped, None).device_map == "auto"


def with_former_names(line: str) -> str:
    """A row of a log as a version with one twin wrote it: `twin_…`, and nothing about gradients."""
    row = json.loads(line)
    row = {name.replace("gaussian_", "twin_"): value for name, value in row.items()}
    if "matrix" in row:
        row["matrix"] = row["matrix"].replace("gaussian_", "twin_")
    return json.dumps({name: value for name, value in row.items() if name not in STATISTICS}) + "\n"


def as_written_with_one_twin(run) -> None:
    """Turn an interrupted run with the Gaussian twin into what manifest format 3 left."""
    logs = {name: (run.path / f"{name}.jsonl").read_text().splitlines(keepends=True) for name in LOGS}
    former = {name: [with_former_names(line) for line in lines] for name, lines in logs.items()}
    for step in checkpoint_steps(run.path / CHECKPOINTS):
        tensors, facts = load_checkpoint(run.path / CHECKPOINTS, step)
        for name, lines in logs.items():
            ends = np.cumsum([0, *(len(line.encode()) for line in lines)])
            whole = int(np.flatnonzero(ends == facts["logs"][name]["bytes"])[0])
            facts["logs"][name] = len("".join(former[name][:whole]).encode())
        tensors = {
            name.replace("gaussian_", "twin."): value
            for name, value in tensors.items()
            if not name.startswith("gradients.")
        }
        assert any(name.startswith("twin.factor.") for name in tensors)
        save_checkpoint(run.path / CHECKPOINTS, step, tensors, facts)
    for name, lines in former.items():
        (run.path / f"{name}.jsonl").write_text("".join(lines))
    run.update({"format": 3, "config": run.manifest["config"] | {"twin": True}})


def test_a_run_of_the_version_with_one_twin_goes_on_with_it(tmp_path):
    """Also where the default twins are asked for, and where its id hashed the flag."""

    def stop(record):
        if record.step == 4:
            raise RunInterrupted("stop")

    config = quick(twin="gaussian", checkpoint_every=2)
    whole = rp.train(config, runs_dir=tmp_path / "whole", name="run")
    name = f"{config.id_stem}0ld1d0"
    with pytest.raises(RunInterrupted):
        rp.train(config, runs_dir=tmp_path / "runs", name=name, hooks=[stop])
    as_written_with_one_twin(rp.find_run(name, tmp_path / "runs"))
    run = rp.train(quick(checkpoint_every=2), runs_dir=tmp_path / "runs", if_exists="resume")
    assert (run.id, run.status, run.manifest["config"]["twin"]) == (name, "finished", "gaussian")
    steps, expected = (each.log("steps").drop(columns=[*STATISTICS]) for each in (run, whole))
    # The counts are floats, as each half of the log lacks the columns of the other.
    pd.testing.assert_frame_equal(steps[[*expected]], expected, check_exact=True, check_dtype=False)
    loaded = rp.load_runs(tmp_path / "runs").steps
    assert loaded.columns.is_unique
    assert loaded["gaussian_n_positive"].tolist() == expected["gaussian_n_positive"].tolist()
    assert run.log("spectra").equals(whole.log("spectra"))
    np.testing.assert_array_equal(run.prompt(), whole.prompt())
