"""Reporting while training: it changes nothing, a tracker that fails or hangs costs nothing, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import psutil
import pytest
from conftest import assert_equal_runs, quick
from waiting import SECONDS, wait_until

import rankprobe as rp
from rankprobe import plugins
from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.trackers import TRACKERS, follow, live, track

FAKES = ("good", "light", "broken", "hanging", "missing")


def forget() -> None:
    """Plugins are read once per process."""
    plugins._points.cache_clear()
    TRACKERS.__dict__.pop("_all", None)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The fakes, installed as a package; returns a function that reads what they were told."""
    package = tmp_path / "site"
    info = package / "fakes-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "fakes.py").write_text((Path(__file__).parent / "fakes.py").read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1.0\n")
    points = "".join(f"{name} = fakes:{name.title()}\n" for name in FAKES)
    (info / "entry_points.txt").write_text(f"[rankprobe.trackers]\n{points}")
    monkeypatch.syspath_prepend(package)
    monkeypatch.chdir(tmp_path)
    told = tmp_path / "told.jsonl"
    monkeypatch.setenv("FAKE_TRACKED", str(told))
    forget()
    yield lambda: [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    monkeypatch.undo()
    forget()


def steps(told: list[dict]) -> dict[int, dict]:
    return {row["step"]: row["values"] for row in told if "step" in row}


def test_a_reported_run_is_the_same_run(installed):
    config = quick(twin="gaussian,haar")
    alone = rp.train(config, runs_dir="alone")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reported = rp.train(config, runs_dir="reported", report_to="good")
    assert reported.id == alone.id == config.run_id
    assert_equal_runs(reported, alone)
    assert {path.name for path in reported.path.iterdir()} == {path.name for path in alone.path.iterdir()}
    told = installed()
    assert "report_to" not in told[0]["config"]
    assert told[0]["config"].items() >= reported.manifest["config"].items()
    assert told[-1]["status"] == "finished"
    assert told[-1]["report"] == "<!DOCTYPE html>"
    assert told[-1]["findings"] == rp.findings([rp.Run(reported.path.resolve())])
    live_values = steps(told)
    assert list(live_values) == list(range(7))
    Path("told.jsonl").unlink()
    (row,) = track([reported], "good")
    assert (row.n_sent, row.last_step, row.place) == (7, 6, f"good:{reported.id}")
    assert steps(installed()) == live_values


def test_steps_arrive_while_the_run_goes_on(installed):
    def wait(record):
        if record.step == 4:
            wait_until(lambda: 3 in steps(installed()))
            assert "status" not in installed()[-1]

    rp.train(quick(), runs_dir="runs", hooks=[wait], report_to=["light"])
    assert installed()[-1]["status"] == "finished"


def test_a_tracker_that_raises_gives_one_line_and_the_run_goes_on(installed):
    alone = rp.train(quick(), runs_dir="alone")
    with pytest.warns(UserWarning, match="broken failed") as warned:
        reported = rp.train(quick(), runs_dir="runs", report_to="broken,light")
    (line,) = [str(warning.message) for warning in warned]
    assert line == (
        f"reporting to broken failed (tracker 'broken' failed for run '{alone.id}': ValueError: the disk of "
        "the server is full); the run folder has everything, send it with: "
        f"rankprobe track runs/{alone.id} --to broken"
    )
    assert_equal_runs(reported, alone)
    assert list(steps(installed())) == list(range(7))  # of the other tracker


def test_a_tracker_that_fails_while_warnings_are_ignored_is_named(installed):
    """The filters of `warnings` belong to all threads; torch sets them for a moment here and there."""

    def ignore(record):
        if record.step == 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wait_until(lambda: any("opened" in row for row in installed()))
                wait_until(lambda: has_ended(installed()[0]["opened"]))
                time.sleep(0.2)

    with pytest.warns(UserWarning, match="broken failed"):
        rp.train(quick(), runs_dir="runs", hooks=[ignore], report_to="broken")


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_tracker_that_hangs_does_not_hold_the_run(installed, monkeypatch):
    """Training goes on while it hangs, waits for it for a bounded time only, and leaves no process."""
    monkeypatch.setattr(live, "WAIT", 1.0)
    alone = rp.train(quick(), runs_dir="alone")
    hangs_at, ended = [], []

    def note(record):
        if record.step == 2:
            wait_until(lambda: any("hangs" in row for row in installed()))
            hangs_at.append(time.monotonic())
        if record.step == record.total_steps:
            ended.append(time.monotonic())

    with pytest.warns(UserWarning, match="reporting to hanging was stopped 1 s after the end of training"):
        reported = rp.train(quick(), runs_dir="runs", hooks=[note], report_to="hanging")
    assert ended[0] - hangs_at[0] < SECONDS
    assert time.monotonic() - ended[0] < SECONDS
    assert_equal_runs(reported, alone)
    (pid,) = [row["hangs"] for row in installed() if "hangs" in row]
    assert not psutil.pid_exists(pid)


def test_a_tracker_that_hung_gets_no_further_runs(installed, monkeypatch):
    """So the passes of one call wait for it once, not once each."""
    monkeypatch.setattr(live, "WAIT", 3.0)
    reporters = live.Reporters("hanging")
    folder = rp.train(quick(steps=1, eval_every=1), runs_dir="runs").path
    with pytest.warns(UserWarning, match="hanging was stopped"), reporters:
        reporters.start([folder])
    before = len(installed())
    with reporters:
        reporters.start([folder])
    assert len(installed()) == before


def test_the_runs_of_a_pass_share_a_process(installed):
    runs = rp.train_cohort([quick(seed=1), quick(seed=2)], runs_dir="runs", report_to="light")
    told = installed()
    opened = {row["run"]: row["opened"] for row in told if "opened" in row}
    assert set(opened) == {run.id for run in runs}
    assert len(set(opened.values())) == 1
    for run in runs:
        own = [row for row in told if row["run"] == run.id]
        assert list(steps(own)) == list(range(7))
        assert own[-1]["status"] == "finished"


LONG = """
import sys
sys.path[:] = {path!r}
import time
import rankprobe as rp
from rankprobe.config import RunConfig
from rankprobe.trackers import live
live.WAIT_IF_STOPPED = {seconds}
settings = {settings!r}
rp.train(RunConfig.parse(settings), runs_dir="runs", name="one", report_to="light", hooks=[lambda _: time.sleep(0.1)])
"""


@pytest.fixture
def training(installed):
    """A training of minutes in a process of its own, that is reported."""
    settings = {**quick().flat(), "steps": 2000, "eval_every": 1000, "checkpoint_every": 5}
    code = LONG.format(path=sys.path, settings=settings, seconds=SECONDS)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: len(steps(installed())) > 5)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def follower(told: list[dict]) -> psutil.Process:
    return psutil.Process(told[0]["opened"])


def test_killed_training_leaves_no_process(training, installed):
    process = follower(installed())
    training.kill()
    training.wait()
    process.wait(SECONDS)
    told = installed()
    assert told[-1]["status"] == "killed"
    last = rp.find_run("one").log("steps")["step"].max()
    assert max(steps(told)) == last


def test_an_interrupted_run_is_closed_and_goes_on_after_a_resume(training, installed, monkeypatch):
    monkeypatch.setattr(live, "WAIT_IF_STOPPED", SECONDS)
    process = follower(installed())
    training.send_signal(signal.SIGINT)
    _, error = training.communicate(timeout=SECONDS)
    assert b"RunInterrupted: stopped after step" in error
    assert b"UserWarning" not in error
    assert not process.is_running()
    told = installed()
    assert told[-1]["status"] == "interrupted"
    one = rp.find_run("one")
    assert list(steps(told)) == list(range(one.log("steps")["step"].max() + 1))

    def stop(record):
        if record.step == len(steps(told)) + 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterrupted):
        rp.resume([one], hooks=[stop], report_to="light")
    sent = [row["step"] for row in installed() if "step" in row]
    assert sent == list(range(one.log("steps")["step"].max() + 1))  # each step once
    assert installed()[-1]["status"] == "interrupted"


def test_bad_names_are_refused_before_anything_is_written(installed):
    for names, message in {
        "lihgt": "unknown tracker 'lihgt'; did you mean 'light'?",
        "light,": "unknown tracker ''",
        "missing": "tracker 'missing' needs the package no-such-package; install it with: pip install no-such-package",
    }.items():
        with pytest.raises(RankprobeError) as refused:
            rp.train(quick(), runs_dir="runs", report_to=names)
        assert str(refused.value).startswith(message)
    assert not Path("runs").exists()


def test_a_missing_package_of_ours_names_the_extra(monkeypatch):
    monkeypatch.setattr("rankprobe.trackers.registry.find_spec", lambda name: None)
    for name in TRACKERS.own:
        with pytest.raises(
            RankprobeError, match=rf"needs the package {name}; .* pip install 'rankprobe\[{name}\]'"
        ):
            track([], name)


def command(line: str, code: int = 0) -> tuple[str, str]:
    from rankprobe.cli import main

    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main(line.split())
    assert (stop.value.code or 0) == code, err.getvalue()
    return out.getvalue(), err.getvalue()


QUICK = "--model random:tiny --prompt-length 8 --steps 2 --eval-every 2 --batch-size 8"


def test_the_commands(installed):
    assert command(f"probe --name one {QUICK} --report-to light")[1] == ""
    assert command(f"train --name two --method vanilla {QUICK}")[1] == ""
    assert installed()[-1]["status"] == "finished"
    out, _ = command("track runs --to light")
    assert out.splitlines() == ["one  light  nothing to send  good:one", "two  light  3 steps sent  good:two"]
    Path("told.jsonl").unlink()
    out, err = command("track one two --to broken,light", 1)
    assert out.splitlines() == [f"{name}  light  3 steps sent  good:{name}" for name in ("one", "two")]
    assert err == (
        "error: tracker 'broken' failed for run 'one': ValueError: the disk of the server is full; and 1 more\n"
    )


def test_a_damaged_run_does_not_keep_the_others_from_their_trackers(installed):
    rp.train(quick(), runs_dir="runs", name="one")
    rp.train(quick(seed=1), runs_dir="runs", name="two")
    manifest = Path("runs/one/manifest.json")
    manifest.write_text(manifest.read_text()[:100])
    one, two = track(rp.list_runs("runs"), "light")
    assert "manifest.json" in str(one.error)
    assert (one.n_sent, two.n_sent, two.error) == (0, 7, None)


def test_two_runs_of_one_id_are_refused(installed):
    rp.train(quick(), runs_dir="runs", name="one")
    rp.train(quick(), runs_dir="others", name="one")
    with pytest.raises(RankprobeError, match="2 runs are named 'one'; give one, or rename a folder"):
        track([*rp.list_runs("runs"), *rp.list_runs("others")], "light")
    assert len(track([*rp.list_runs("runs"), *rp.list_runs("runs")], "light")) == 1


def test_a_run_that_another_process_resumed_is_left_to_that_process(installed):
    run = rp.train(quick(), runs_dir="runs")
    feed = follow._Feed(run, ["light"])
    run.update({"resumed": [{"host": "other"}]})
    feed.send(follow=True)
    (outlet,) = feed.outlets
    assert outlet.error == "another process resumed it or started it over; track it again"
    assert not feed.goes_on
    assert installed() == []
