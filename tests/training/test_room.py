"""How many runs fit into one pass."""

from __future__ import annotations

import resource
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.errors import RunFailed
from rankprobe.sweeps import pack
from rankprobe.training import loop, room
from rankprobe.training.session import open_session


@pytest.fixture(scope="module")
def session():
    return open_session([quick()])


def test_activations_grow_with_rows_and_tokens(session):
    few, more = (room.activation_bytes(session, 8, rows) for rows in (4, 8))
    assert 1.8 < more / few < 2.2
    assert room.activation_bytes(session, 80, 8) > 1.5 * more
    # At the least, the input of each of two layers is kept, for 8 rows of 8 prompt tokens.
    assert more > 2 * 8 * 8 * session.backbone.d_model * 4


def test_members_fill_the_share_of_free_memory(session, monkeypatch):
    one = room.activation_bytes(session, 8, 4)
    monkeypatch.setattr(room, "free_bytes", lambda device: 10 * one)
    assert room.members_that_fit(session, 8, 4) == int(10 * room.SHARE)
    monkeypatch.setattr(room, "free_bytes", lambda device: one)
    assert room.members_that_fit(session, 8, 4) == 1


def test_free_memory_is_that_of_the_machine():
    assert 10**8 < room.free_bytes(torch.device("cpu")) < 10**14


def test_cohorts_are_cut_to_size():
    configs = [quick(seed=seed) for seed in range(5)]
    assert [len(each) for each in pack(configs, most=2)] == [2, 2, 1]
    assert [len(each) for each in pack(configs)] == [5]


OUT_OF_MEMORY = {
    "CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    "GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "Python": MemoryError,
}


def crowded(function, most, error):
    """`function` of a session and members, for which there is no memory with more than `most` members."""

    def wrapped(session, members, *rest):
        found = function(session, members, *rest)
        if len(members) > most:
            raise error()
        return found

    return wrapped


@pytest.mark.parametrize("where", OUT_OF_MEMORY)
@pytest.mark.parametrize("name", ["gradients_for", "scores_of"])
def test_a_cohort_that_is_out_of_memory_halves_itself_and_comes_out_the_same(
    tmp_path, monkeypatch, where, name
):
    configs = [quick(seed=seed, dtype="float64", dropout=True) for seed in range(5)]
    whole = rp.train_cohort(configs, runs_dir=tmp_path / "whole")
    monkeypatch.setattr(loop, name, crowded(getattr(loop, name), 3, OUT_OF_MEMORY[where]))
    with pytest.warns(UserWarning, match="out of memory with 5 runs in one pass; going on with 3 at once"):
        halved = rp.train_cohort(configs, runs_dir=tmp_path / "halved")
    for one, other in zip(whole, halved, strict=True):
        pd.testing.assert_frame_equal(one.log("steps"), other.log("steps"), rtol=1e-9)
        assert one.log("evals").equals(other.log("evals"))


def test_a_run_for_which_there_is_no_memory_says_what_would_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "gradients_for", crowded(loop.gradients_for, 0, OUT_OF_MEMORY["GPU"]))
    monkeypatch.setattr(room, "rows_that_fit", lambda session, n: 3)
    with (
        pytest.warns(UserWarning, match="going on with 1 at once"),
        pytest.raises(
            RunFailed, match=r"is out of memory \(CUDA .*\); there is room for about --batch-size 3"
        ),
    ):
        rp.train_cohort([quick(seed=1), quick(seed=2)], runs_dir=tmp_path)
    assert [run.status for run in rp.list_runs(tmp_path)] == ["failed", "failed"]


def test_memory_that_is_really_gone_is_noticed(tmp_path):
    limits, big = resource.getrlimit(resource.RLIMIT_AS), quick(batch_size=250, prompt_length=100, steps=1)

    def starve(record):
        if record.step == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**20, limits[1]))

    try:
        with pytest.raises(RunFailed, match=r"is out of memory .*can't allocate memory"):
            rp.train(big, runs_dir=tmp_path, name="run", hooks=[starve])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    (run,) = rp.resume(rp.list_runs(tmp_path))
    assert run.status == "finished"


def test_rows_that_fit(session, monkeypatch):
    one = room.activation_bytes(session, 8, 1)
    monkeypatch.setattr(room, "free_bytes", lambda device: 10 * one)
    assert room.rows_that_fit(session, 8) == int(10 * room.SHARE)
