"""The engine for SLURM on submitit's executor for this machine: real processes, signals, losses, a stop."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import assert_equal_runs, quick
from waiting import wait_until

from rankprobe.cli import main
from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.runs import CHECKPOINTS, Run
from rankprobe.runs.checkpoint import last_checkpoint
from rankprobe.sweeps import is_finished, sweep
from rankprobe.sweeps.slurm import JOBS, on_slurm, parse_options

submitit = pytest.importorskip("submitit")

STEPS = 300
LONG = {"steps": STEPS, "checkpoint_every": 100, "eval_every": 150, "spectrum_every": 150}


@pytest.fixture
def environment(monkeypatch):
    """Jobs import rankprobe from here, with one thread each, as this process has."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.delenv("SUBMITIT_LOCAL_JOB_ID", raising=False)


@pytest.fixture
def background():
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def trainer_of(run):
    """The process that trains a run, once it has finished some steps."""
    steps = run.path / "steps.jsonl"

    def pid():
        with suppress(OSError, RankprobeError):
            return steps.read_bytes().count(b"\n") > 20 and run.manifest["process"]["pid"]

    return wait_until(pid, seconds=90)


@pytest.mark.extras
def test_the_runs_are_those_of_the_local_engine(environment, tmp_path):
    cohorts = [[quick(seed=1), quick(seed=2)], [quick(seed=3, method="dpt")]]
    done = []
    outcome = sweep(
        cohorts,
        runs_dir=tmp_path / "slurm",
        to_truncate=[cohorts[1][0].run_id],
        engine=on_slurm({}, cluster="local"),
        done=lambda cohort, problems: done.append(len(cohort)),
    )
    assert not outcome.problems
    assert sorted(done) == [1, 2]
    sweep(cohorts, runs_dir=tmp_path / "local")
    for config in (config for cohort in cohorts for config in cohort):
        assert_equal_runs(Run(tmp_path / "slurm" / config.run_id), Run(tmp_path / "local" / config.run_id))
    assert Run(tmp_path / "slurm" / cohorts[1][0].run_id).truncation()
    assert list((tmp_path / "slurm" / JOBS).glob("*_log.out"))


@pytest.mark.parametrize("how", ["warned", "killed"])
@pytest.mark.extras
def test_a_job_that_is_warned_or_lost_goes_on(environment, background, tmp_path, how):
    """Before its time limit a job loses no step; a killed one loses those since its last checkpoint."""
    config = quick(seed=1, **LONG)
    run = Run(tmp_path / config.run_id)

    def interfere():
        pid = trainer_of(run)
        os.kill(pid, signal.SIGUSR2 if how == "warned" else signal.SIGKILL)
        wait_until(lambda: run.status != "running")
        return pid, run.status

    first = background(interfere)
    outcome = sweep([[config]], runs_dir=tmp_path, engine=on_slurm({}, cluster="local"))
    assert not outcome.problems
    manifest, (pid, status) = run.manifest, first.result()
    assert status == ("interrupted" if how == "warned" else "killed")
    assert manifest["process"]["pid"] == pid
    assert len(manifest["resumed"]) == 1
    assert manifest["resumed"][0]["process"]["pid"] != pid
    whole = sweep([[config]], runs_dir=tmp_path / "whole").finished[0]
    assert_equal_runs(run, whole)


@pytest.mark.extras
def test_a_stop_signal_writes_checkpoints_and_the_same_call_goes_on(
    environment, background, tmp_path, usual_signals
):
    config = quick(seed=1, **LONG)
    run = Run(tmp_path / config.run_id)

    def stop():
        trainer_of(run)
        os.kill(os.getpid(), signal.SIGTERM)

    background(stop)
    with pytest.raises(RunInterrupted, match="^stopped with 0 of 1 runs finished"):
        sweep([[config]], runs_dir=tmp_path, engine=on_slurm({}, cluster="local"))
    assert run.status == "interrupted"
    assert run.log("steps")["step"].max() == last_checkpoint(run.path / CHECKPOINTS)
    outcome = sweep([[config]], runs_dir=tmp_path, engine=on_slurm({}, cluster="local"))
    assert not outcome.problems
    assert is_finished(run.path)


@pytest.mark.extras
def test_a_run_that_fails_is_reported_and_the_others_finish(environment, tmp_path):
    bad, good = quick(seed=1, learning_rate=1e30), quick(seed=2)
    outcome = sweep([[bad], [good]], runs_dir=tmp_path, engine=on_slurm({}, cluster="local"))
    assert [*outcome.failed] == [bad.run_id]
    assert "failed at step" in outcome.failed[bad.run_id]
    assert [run.id for run in outcome.finished] == [good.run_id]


def test_options_have_the_names_of_submitit():
    options = parse_options(
        ["partition=gpu", "timeout_min=90", "mem_gb=12.5", "gpus_per_node=1", "array_parallelism=4"]
    )
    assert options == {
        "partition": "gpu",
        "timeout_min": 90,
        "mem_gb": 12.5,
        "gpus_per_node": 1,
        "array_parallelism": 4,
    }


def error_of(capsys, tmp_path, *words):
    spec = tmp_path / "spec.toml"
    spec.write_text("title = 't'")
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(spec), "--runs-dir", str(tmp_path / "runs"), "--engine", "slurm", *words])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_no_submitit(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    expected = "error: --engine slurm needs submitit; install it with: pip install 'rankprobe[slurm]'\n"
    assert error_of(capsys, tmp_path) == expected


def test_no_slurm(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = "error: no SLURM here (srun was not found); sweep on a login node, or with --engine local\n"
    assert error_of(capsys, tmp_path) == expected
    assert not list(Path(tmp_path).glob("runs/*/manifest.json"))


@pytest.mark.extras
def test_the_array_that_slurm_gets(tmp_path, monkeypatch):
    """The sbatch file, with a stand-in for SLURM: one array, our options, a signal before the limit."""
    (tmp_path / "bin").mkdir()
    for name, code in {"srun": "exit 0", "sbatch": f"cp $1 {tmp_path}/job.sh; echo Submitted batch job 77",
                       "sacct": "echo 'JobID|State'; echo '77_0|FAILED'; echo '77_1|FAILED'", "scancel": "exit 0"}.items():  # fmt: skip
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{code}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("rankprobe.sweeps.slurm.RETRIES", 0)
    options = parse_options(["partition=gpu", "timeout_min=90", "gpus_per_node=1", "array_parallelism=1"])
    cohorts = [[quick(seed=1)], [quick(seed=2)]]
    results = dict(enumerate(on_slurm(options)(cohorts, tmp_path / "runs", [])))
    assert len(results) == 2
    text = (tmp_path / "job.sh").read_text()
    for line in (
        "array=0-1%1",
        "partition=gpu",
        "time=90",
        "gpus-per-node=1",
        "cpus-per-task=4",
        "signal=USR2@90",
    ):
        assert f"#SBATCH --{line}\n" in text
