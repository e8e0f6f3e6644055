"""Many processes and threads write the same files at the same time: all finish, and no temporary file is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from starting import ROUNDS

from rankprobe.errors import RankprobeError
from rankprobe.runs import Run, create_run, list_runs, lock, new_run, read_plans, write_prompt
from rankprobe.runs.files import temporary, write_atomically
from rankprobe.runs.lock import is_being_written, writing

PROCESSES = 16
LEFT = "0123456789ab"
"""Looks like the random part of the name of a temporary file."""


def test_many_processes_start_at_once(tmp_path):
    script = Path(__file__).parent / "starting.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(PROCESSES)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == ROUNDS, "each run was created once"
    assert [plan.name for plan in read_plans(tmp_path)] == ["spec"]
    assert len(list_runs(tmp_path)) == ROUNDS * (PROCESSES + 1)
    assert not list(tmp_path.rglob(".*"))


def at_once(work, count=PROCESSES):
    """The results of `work(0)`, `work(1)`, … in as many threads; errors are among them."""

    def tried(number):
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(tried, range(count)))


def test_threads_that_write_one_file(tmp_path):
    path, texts = tmp_path / "plan.json", [b"%d" % i * 100_000 for i in range(PROCESSES)]

    def write(number):
        for _ in range(10):
            write_atomically(path, texts[number])
            assert path.read_bytes() in texts

    assert at_once(write) == [None] * PROCESSES
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_create_one_run(tmp_path):
    found = at_once(lambda number: create_run(tmp_path / "run", {"own": number}))
    (run,) = [each for each in found if isinstance(each, Run)]
    assert json.loads((run.path / "manifest.json").read_text())["own"] == found.index(run)
    others = [str(each) for each in found if each is not run]
    assert all("run exists; continue it with --resume" in each for each in others), others
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("gap", [0.0, 0.2])
def test_threads_that_start_one_run_over(tmp_path, monkeypatch, gap):
    """Only one thread holds the run; no thread removes a run that another thread has started.

    Args:
        gap: seconds for which the name of the run is free while a thread replaces it.
    """
    create_run(tmp_path / "run", {"own": -1})
    rename = Path.rename

    def slow_rename(path, target):
        rename(path, target)
        time.sleep(gap)

    monkeypatch.setattr(Path, "rename", slow_rename)

    refused = threading.Semaphore(0)

    def start_over(number):
        time.sleep(number * gap / 2)
        try:
            with new_run(tmp_path / "run", {"own": number}, replace=True) as run:
                assert all(refused.acquire(timeout=20) for _ in range(3))
                assert json.loads((run.path / "manifest.json").read_text())["own"] == number
                return run
        except RankprobeError:
            refused.release()
            raise

    found = at_once(start_over, 4)
    assert [isinstance(each, Run) for each in found].count(True) == 1, found
    others = [str(each) for each in found if not isinstance(each, Run)]
    assert all("is being written by another process; wait for it" in each for each in others), others
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_another_process_takes_away_while_it_is_replaced(tmp_path, monkeypatch):
    """As if that process were slow between renaming the old run and naming its own."""
    create_run(tmp_path / "run", {"own": 1})

    def too_late(path):
        monkeypatch.undo()
        path.rename(tmp_path / "old")
        return writing(path)

    monkeypatch.setattr("rankprobe.runs.folder.writing", too_late)
    with new_run(tmp_path / "run", {"own": 2}, replace=True) as run:
        assert json.loads((run.path / "manifest.json").read_text())["own"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"run", "old"}


@pytest.mark.parametrize(
    ("kind", "place"), [("npy", "p.npy"), ("safetensors", "p.safetensors"), ("peft", "p")]
)
def test_threads_that_export_one_prompt(tmp_path, kind, place):
    P = np.ones((2, 3), dtype=np.float32)
    found = at_once(lambda _: write_prompt(P, tmp_path / place, kind, model="m", causal=False))
    messages = [str(result) for result in found if isinstance(result, RankprobeError)]
    assert len(messages) < PROCESSES
    assert all("exists; choose another" in text or "cannot be written" in text for text in messages)
    assert [type(each) for each in found if not isinstance(each, RankprobeError | Path)] == []
    assert [path.name for path in tmp_path.iterdir()] == [place]


def test_a_run_is_held_from_its_first_instant_on(tmp_path):
    with new_run(tmp_path / "run", {}) as run:
        assert is_being_written(run.path)
        with pytest.raises(RankprobeError, match="is being written by another process"), writing(run.path):
            pass
    assert not is_being_written(run.path)
    assert not is_being_written(tmp_path / "none")


def test_a_folder_that_is_replaced_while_one_waits_for_it_is_not_taken_for_the_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "MAX_WAIT", 60)
    patient = writing(tmp_path / "run")
    with ThreadPoolExecutor(1) as other:
        with new_run(tmp_path / "run", {"own": 1}) as run:
            waiting = other.submit(patient.__enter__)
            time.sleep(0.1)
            run.path.rename(tmp_path / "old")
            create_run(run.path, {"own": 2})
        waiting.result()
    assert is_being_written(tmp_path / "run")
    assert not is_being_written(tmp_path / "old")
    patient.__exit__(None, None, None)


@pytest.mark.parametrize("folder", [False, True])
def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path, folder):
    path = tmp_path / "x.json"
    abandoned = tmp_path / f".x.json.{LEFT}.partial"
    kept = [
        tmp_path / name for name in (".x.json.partial", ".x.json.other.partial", f".y.json.{LEFT}.partial")
    ]
    link = tmp_path / f".x.json.{LEFT[::-1]}.partial"
    with temporary(path, folder=folder) as theirs:
        for each in (abandoned, *kept):
            each.mkdir() if folder else each.write_text("")
        link.symlink_to(kept[0])
        with temporary(path, folder=folder) as ours:
            assert ours.name != theirs.name
            assert sorted(tmp_path.iterdir()) == sorted([*kept, link, ours, theirs])
    assert sorted(tmp_path.iterdir()) == sorted([*kept, link])


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error):
        write_atomically(tmp_path / "x", b"")
    with pytest.raises(error):
        create_run(tmp_path / "run", {})
    assert not list(tmp_path.iterdir())


def test_a_file_has_the_rights_that_the_user_asked_for(tmp_path):
    mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "x", b"")
    finally:
        os.umask(mask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
