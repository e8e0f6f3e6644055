"""SIGKILL at any instant, then resume: logs and prompts equal an undisturbed run's, bit for bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import assert_equal_runs, quick
from killed import KILLED

import rankprobe as rp

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
            {"checkpoint/.step-5.safetensors.partial"},
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
    assert all((run.path / name).exists() for name in left), "the kill fell elsewhere: count again"
    rp.resume([run])
    assert run.status == "finished"
    assert_equal_runs(run, undisturbed)
    assert not list(run.path.rglob("*.partial"))


def test_killed_by_somebody_else_twice(tmp_path, undisturbed):
    kills = random.Random().sample(range(1, 36), 2)
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
