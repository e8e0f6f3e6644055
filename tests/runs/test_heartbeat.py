"""Two hosts, one run folder, and locks that do not reach: the heartbeat decides.

The other host is a signature with another name and another kernel, or a process that is told it is one.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import QUICK, assert_equal_runs, quick
from test_runs import make_run
from waiting import wait_until

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.errors import RankprobeError
from rankprobe.runs import CHECKPOINTS, flock, heartbeat, lock
from rankprobe.runs.checkpoint import last_checkpoint
from rankprobe.runs.files import write_atomically
from rankprobe.runs.heartbeat import (
    BEAT,
    CLAIM,
    HEARTBEAT,
    STALE,
    Signature,
    beating,
    read_signature,
    this_machine,
)
from rankprobe.runs.lock import is_being_written, writing

THEIRS = Signature("gpu7", "another kernel", 4321, "2026-01-01T00:00:00+00:00", "0123456789abcdef")


def sign(folder, signature=THEIRS, age=0.0):
    path = folder / HEARTBEAT
    path.write_text(json.dumps(asdict(signature)))
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))
    return path


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, "run", status="running")


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_writer_signs_and_leaves_nothing(run):
    with writing(run.path):
        found = read_signature(run.path / HEARTBEAT)
        assert (found.host, found.boot) == this_machine()
        assert found.pid == os.getpid()
    assert [path.name for path in run.path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("age", [0, STALE - 20])
def test_a_fresh_heartbeat_of_another_host_keeps_everyone_out(run, age):
    sign(run.path, age=age)
    before = contents(run.path.parent)
    assert is_being_written(run.path)
    assert run.status == "running"
    with pytest.raises(RankprobeError) as refused, writing(run.path):
        pass
    line = (
        r"run is being written by process 4321 on host 'gpu7', which gave a sign (\d+) s ago; "
        r"wait for it, or stop it there; if it is dead, try again in (\d+) s$"
    )
    passed, left = map(int, re.search(line, str(refused.value)).groups())
    assert age <= passed < age + 15
    assert passed + left == pytest.approx(STALE, abs=1)
    assert contents(run.path.parent) == before


def test_a_stale_heartbeat_of_another_host_is_taken_over(run):
    sign(run.path, age=STALE + 5)
    assert run.status == "killed"
    with writing(run.path):
        assert read_signature(run.path / HEARTBEAT).pid == os.getpid()
    assert not (run.path / HEARTBEAT).exists()


@pytest.mark.parametrize("name", ["the same", "of another container"])
def test_a_killed_process_of_this_machine_is_taken_over_at_once(run, name):
    host, boot = this_machine()
    assert boot
    sign(run.path, replace(THEIRS, host=host if name == "the same" else name, boot=boot))
    assert run.status == "killed"
    with writing(run.path):
        pass


def test_without_a_kernel_id_the_name_of_the_host_decides(run, monkeypatch):
    monkeypatch.setattr(heartbeat, "this_machine", lambda: ("laptop", None))
    sign(run.path, replace(THEIRS, host="laptop", boot=None))
    assert not is_being_written(run.path)
    sign(run.path, replace(THEIRS, boot=None))
    assert is_being_written(run.path)


@pytest.mark.parametrize("shift", [-1e6, 1e6])
def test_the_clock_of_this_host_does_not_matter(run, monkeypatch, shift):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    sign(run.path)
    assert is_being_written(run.path)
    sign(run.path, age=STALE + 5)
    assert not is_being_written(run.path)


def test_a_folder_that_may_only_be_read_is_judged_by_the_clock(run, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    sign(run.path)
    assert is_being_written(run.path)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + STALE + 5)
    assert not is_being_written(run.path)


GOOD = asdict(THEIRS)
HOSTILE = {
    "empty": b"",
    "torn": json.dumps(GOOD).encode()[:40],
    "bytes": b"\xff\xfe\x00",
    "deep": b"[" * 4000,
    "list": b"[1, 2]",
    "number": b"3",
    "keys": json.dumps(GOOD | {"more": 1}).encode(),
    "fewer": json.dumps({"host": "gpu7"}).encode(),
    "pid": json.dumps(GOOD | {"pid": -1}).encode(),
    "bool": json.dumps(GOOD | {"pid": True}).encode(),
    "great": json.dumps(GOOD | {"pid": 2**80}).encode(),
    "kind": json.dumps(GOOD | {"host": ["gpu7"]}).encode(),
    "lines": json.dumps(GOOD | {"host": "a\nb\x1b[31m"}).encode(),
    "half": json.dumps(GOOD | {"host": "\ud800"}).encode(),
    "long": json.dumps(GOOD | {"host": "x" * 300}).encode(),
    "huge": json.dumps(GOOD).encode() + b" " * 10_000,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_heartbeat_that_cannot_be_read_stops_no_one(run, content):
    (run.path / HEARTBEAT).write_bytes(content)
    assert not is_being_written(run.path)
    with writing(run.path):
        assert read_signature(run.path / HEARTBEAT).pid == os.getpid()
    assert [path.name for path in run.path.iterdir()] == ["manifest.json"]


def test_a_heartbeat_from_the_future_stops_no_one(run):
    sign(run.path, age=-10 * STALE)
    with writing(run.path):
        pass


def test_a_link_or_a_pipe_is_not_read(run, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text(json.dumps(GOOD))
    (run.path / HEARTBEAT).symlink_to(mine)
    assert not is_being_written(run.path)
    with writing(run.path):
        assert not (run.path / HEARTBEAT).is_symlink()
    assert mine.read_text() == json.dumps(GOOD)
    os.mkfifo(run.path / HEARTBEAT)
    assert not is_being_written(run.path)
    with writing(run.path):
        pass


def test_a_folder_of_that_name_is_named(run):
    (run.path / HEARTBEAT / "x").mkdir(parents=True)
    with pytest.raises(RankprobeError, match=r"heartbeat\.json is a folder; remove it"), writing(run.path):
        pass
    assert (run.path / HEARTBEAT / "x").is_dir()
    assert not list(run.path.glob(".*"))


def test_the_heartbeat_beats(run, quick_beats):
    path = run.path / HEARTBEAT
    with writing(run.path):
        own = read_signature(path)
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime > 0)
        path.unlink()
        wait_until(lambda: read_signature(path) == own)  # a heartbeat that was removed comes back
        write_atomically(path, json.dumps(asdict(THEIRS)).encode())
        time.sleep(0.5)  # so that a beat which has just read its own heartbeat is over
        os.utime(path, (0, 0))
        time.sleep(0.5)
        assert path.stat().st_mtime == 0, "the heartbeat of another host is left alone"
    assert read_signature(path) == THEIRS
    assert BEAT * 4 <= STALE


def test_one_of_many_hosts_takes_over(run):
    hosts = [replace(THEIRS, host=f"h{i}", boot=f"k{i}", key=f"{i:016d}") for i in range(8)]
    for _ in range(20):
        sign(run.path, age=STALE + 5)

        def claim(own):
            try:
                heartbeat._claim(run.path, own, locks=True)
            except RankprobeError as error:
                return str(error)  # noqa: B023
            return None

        with ThreadPoolExecutor(len(hosts)) as threads:
            errors = list(threads.map(claim, hosts))
        assert errors.count(None) == 1, errors
        assert read_signature(run.path / HEARTBEAT) == hosts[errors.index(None)]
        refusals = [error for error in errors if error]
        assert all(
            "is being written by process" in each or "; try again in a moment" in each for each in refusals
        )
        assert sorted(path.name for path in run.path.iterdir()) == [HEARTBEAT, "manifest.json"]


@pytest.mark.parametrize("content", [json.dumps(asdict(THEIRS)).encode(), b"", b"{"])
def test_a_claim_of_another_host_is_waited_for_until_it_is_stale(run, content):
    claim = run.path / CLAIM
    claim.write_bytes(content)
    with (
        pytest.raises(RankprobeError, match="is being opened by another process; try again"),
        writing(run.path),
    ):
        pass
    os.utime(claim, (time.time() - STALE - 5,) * 2)
    with writing(run.path):
        assert not claim.exists()


def test_a_claim_that_a_killed_process_of_this_machine_left_is_removed_at_once(run):
    host, boot = this_machine()
    (run.path / CLAIM).write_text(json.dumps(asdict(replace(THEIRS, host=host, boot=boot))))
    with writing(run.path):
        assert not (run.path / CLAIM).exists()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_system_without_locks_or_links(run, monkeypatch, links):
    """The heartbeat is all there is: it tells a live process of this host from a dead one."""

    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    import fcntl

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with writing(run.path):
        assert run.status == "running"
        line = f"is being written by process {os.getpid()} on host"
        with pytest.raises(RankprobeError, match=line), writing(run.path):
            pass
    host, boot = this_machine()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    sign(run.path, Signature(host, boot, gone.pid, "", ""))
    assert run.status == "killed"
    with writing(run.path):
        pass


def test_a_run_that_another_host_took_over_is_left_to_it(tmp_path):
    """As if this process had been suspended for minutes after step 3."""
    whole = rp.train(quick(checkpoint_every=2), runs_dir=tmp_path, name="whole")

    def lose(record):
        if record.step == 3:
            (tmp_path / "run" / HEARTBEAT).unlink()
            sign(tmp_path / "run")

    with pytest.raises(RankprobeError, match="run was taken over by process 4321 on host 'gpu7', because"):
        rp.train(quick(checkpoint_every=2), runs_dir=tmp_path, name="run", hooks=[lose])
    run = rp.find_run("run", tmp_path)
    assert run.manifest["status"] == "running"
    assert read_signature(run.path / HEARTBEAT) == THEIRS
    sign(run.path, age=STALE + 5)
    (resumed,) = rp.resume([run])
    assert_equal_runs(resumed, whole)
    assert not (run.path / HEARTBEAT).exists()


OTHER_HOST = """
import sys
from rankprobe.runs import heartbeat, lock
heartbeat.this_machine = lambda: ("gpu8", "yet another kernel")
lock.try_lock = lambda *_, **__: True  # locks that do not reach
from rankprobe.cli import main
main(sys.argv[1:])
"""


def test_a_second_host_refuses_a_run_and_a_kill_frees_it_here(tmp_path):
    """With real processes: one trains, one on another host is refused; after kill -9, this host may write at once."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**QUICK, "steps": 4000}.items()]
    words = ["probe", *flags, "--checkpoint-every=5", "--name=one", f"--runs-dir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    first = subprocess.Popen(
        [sys.executable, "-m", "rankprobe", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until(lambda: last_checkpoint(tmp_path / "one" / CHECKPOINTS))
        done = subprocess.run(
            [sys.executable, "-c", OTHER_HOST, *words, "--resume"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr
        host = this_machine()[0]
        start = f"error: {tmp_path / 'one'} is being written by process {first.pid} on host '{host}', which gave a sign "
        assert done.stderr.startswith(start)
        assert done.stderr.count("\n") == 1
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stdout.close()
    run = rp.find_run("one", tmp_path)
    assert read_signature(run.path / HEARTBEAT).pid == first.pid
    assert run.status == "killed"

    with writing(run.path):
        pass
    assert not (run.path / HEARTBEAT).exists()


def test_the_command_line_gives_one_line(tmp_path, capsys):
    run = rp.train(quick(), runs_dir=tmp_path, name="run")
    run.update({"status": "interrupted"})
    sign(run.path)
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(run.path)])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.err.startswith(
        f"error: {run.path} is being written by process 4321 on host 'gpu7', which gave a sign"
    )
    assert captured.err.count("\n") == 1


def test_a_sweep_leaves_the_runs_of_another_host_alone(tmp_path):
    config = quick()
    path = rp.train(config, runs_dir=tmp_path, name=config.run_id).path
    rp.Run(path).update({"status": "running"})
    sign(path)
    outcome = rp.sweeps.sweep([[config]], runs_dir=tmp_path)
    assert [*outcome.problems.values()] == ["is being trained by another process"]
    assert not outcome.failed


def test_where_there_are_no_locks_try_lock_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(flock, "HAS_FLOCK", False)
    with (tmp_path / "x").open("wb") as file:
        assert flock.try_lock(file.fileno()) is None
    assert Path(lock.__file__).exists()


def test_create_run_beats_in_its_final_place(tmp_path, quick_beats):
    with rp.runs.new_run(tmp_path / "new", {}) as run:
        path = run.path / HEARTBEAT
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime > 0)
    assert not path.exists()
    with beating(run.path, locks=True):
        assert path.exists()
