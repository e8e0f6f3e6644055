"""Stop signals of a terminal, a closed ssh connection, and the scheduler of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.errors import RunInterrupted
from rankprobe.interrupt import CLUSTER_SIGNALS, USER_SIGNALS, StopRequest
from rankprobe.sweeps import pack, sweep
from rankprobe.training import cohort, run_state

ALL = (*USER_SIGNALS, *CLUSTER_SIGNALS)


def kill(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers(usual_signals):
    before = [signal.getsignal(number) for number in ALL]
    yield
    assert [signal.getsignal(number) for number in ALL] == before


@pytest.mark.parametrize("number", ALL)
def test_a_signal_requests_a_stop(number):
    with StopRequest() as stop:
        assert not stop.requested
        kill(number)
        assert stop.requested


@pytest.mark.parametrize("first", CLUSTER_SIGNALS)
def test_a_cluster_signal_may_come_twice_and_before_sigterm(first):
    with StopRequest() as stop:
        for number in (first, first, signal.SIGHUP, signal.SIGTERM):
            kill(number)
        assert stop.requested


@pytest.mark.parametrize("first", USER_SIGNALS)
def test_the_second_ctrl_c_acts_as_usual(first):
    with pytest.raises(KeyboardInterrupt), StopRequest():  # noqa: PT012
        kill(first)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        kill(signal.SIGUSR1)
        kill(signal.SIGINT)


@pytest.mark.parametrize("number", CLUSTER_SIGNALS)
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_signal_that_would_not_end_the_process_is_left_alone(number, handler):
    """After nohup SIGHUP is ignored, and a program that imports rankprobe may have its own handlers."""
    before = signal.signal(number, handler)
    try:
        with StopRequest() as stop:
            kill(number)
            assert signal.getsignal(number) == handler
            assert not stop.requested
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("where", ["loading", "the last step", "between"])
def test_a_sweep_stops_cleanly_at_any_point(tmp_path, monkeypatch, where):
    configs = [quick(steps=2, seed=seed) for seed in (1, 2)]
    open_session, update = cohort.open_session, run_state.RunState.update

    def loading(configs):
        if where == "loading" and configs[0].seed == 2:
            kill(signal.SIGUSR1)
        return open_session(configs)

    def updating(self, step):
        if where == "the last step" and step == 2:
            kill(signal.SIGHUP)
        return update(self, step)

    def done(cohort, problems):
        if where == "between":
            kill(signal.SIGTERM)

    monkeypatch.setattr(cohort, "open_session", loading)
    monkeypatch.setattr(run_state.RunState, "update", updating)
    with pytest.raises(
        RunInterrupted, match="^stopped with 1 of 2 runs finished; the same command continues"
    ):
        sweep(pack(configs, max_members=1), runs_dir=tmp_path, done=done)
    assert [run.status for run in rp.list_runs(tmp_path)] == ["finished"]


@pytest.mark.parametrize(
    "command", ["replicate run", "taskrank run --restarts 1", "taskrank --model random:tiny"]
)
def test_a_study_that_stops_is_continued_by_its_command(tmp_path, monkeypatch, capsys, command):
    """A resume of the runs that it was training would leave the study without its result."""
    rp.train(quick(steps=2, method="vanilla"), runs_dir=tmp_path / "runs", name="run")
    monkeypatch.chdir(tmp_path)
    update = run_state.RunState.update

    def updating(self, step):
        monkeypatch.setattr(run_state.RunState, "update", update)
        kill(signal.SIGTERM)
        return update(self, step)

    monkeypatch.setattr(run_state.RunState, "update", updating)
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stopped; give the same command again to continue\n"


@pytest.mark.parametrize("imported", ["pydantic", "pandas", "typer"])
@pytest.mark.parametrize("entry", [["-m", "rankprobe"], ["-c", "from rankprobe.cli import main; main()"]])
def test_ctrl_c_while_packages_are_imported(tmp_path, entry, imported):
    (tmp_path / f"{imported}.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *entry, "methods"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_has_gone_does_not_end_a_run(tmp_path):
    words = "probe --model random:tiny --prompt-length 4 --steps 40 --eval-every 2 --name run".split()
    with subprocess.Popen(
        [sys.executable, "-m", "rankprobe", *words, "--runs-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        assert training.stdout and training.stderr  # noqa: PT018
        assert training.stdout.readline().startswith("training on")
        training.stdout.close()
        assert training.stderr.read() == ""
    assert training.returncode == 0
    assert rp.find_run("run", tmp_path).status == "finished"
