"""Runs go on as they were begun: together, in the same order, from a checkpoint that all of them have."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import assert_equal_runs, quick

import rankprobe as rp
from rankprobe.runs import CHECKPOINTS, list_runs
from rankprobe.runs.checkpoint import checkpoint_path, last_checkpoint
from rankprobe.training import checkpoints
from rankprobe.training.resume import PendingRun, group_into_passes

COHORT = ("a", "b", "c")


def work(name: str, *checkpoints: int, cohort: tuple[str, ...] = COHORT) -> PendingRun:
    return PendingRun(quick(), Path("runs") / name, cohort, checkpoints, max(checkpoints, default=None))


@pytest.mark.parametrize(
    ("works", "expected"),
    [
        ([work("a", 10, 5), work("b", 10, 5), work("c", 10, 5)], [("abc", 10)]),
        ([work("a", 10, 5), work("b", 5, 0), work("c", 5, 0)], [("abc", 5)]),  # killed between checkpoints
        ([work("a", 5, 0), work("b", 0), work("c", 0)], [("abc", 0)]),
        ([work("a", 0), work("b", 0), work("c")], [("abc", None)]),  # … between the first ones
        ([work("a"), work("b", cohort=()), work("c", cohort=())], [("abc", None)]),  # … between folders
        ([work("c", 5, 0), work("a", 5, 0)], [("ac", 5)]),  # as they were begun, not as they were given
        ([work("a", 15, 10), work("b", 5, 0)], [("a", 15), ("b", 5)]),  # one failed long before
        ([work("a", 10), work("b")], [("a", 10), ("b", None)]),  # 10 is not given up for the beginning
        ([work("a", 5, 0), work("x", 5, 0, cohort=("x",))], [("a", 5), ("x", 5)]),  # never were together
        ([work("n", cohort=()), work("a", 0)], [("n", None), ("a", 0)]),
    ],
)
def test_who_goes_on_with_whom_and_from_where(works, expected):
    found = [
        ("".join(each.path.name for each in group), group[0].start) for group in group_into_passes(works)
    ]
    assert found == expected


def cohort():
    return [quick(seed=seed, steps=12, checkpoint_every=4, dropout=True) for seed in (1, 2)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return rp.train_cohort(cohort(), runs_dir=tmp_path_factory.mktemp("undisturbed"))


def train_until_checkpoint(count: int, runs_dir: Path, monkeypatch) -> None:
    """Train the cohort until one of its members is about to write its `count`-th checkpoint of all."""
    save, calls = checkpoints.save_checkpoint, []

    def stopping(*given):
        calls.append(given)
        if len(calls) == count:
            raise KeyboardInterrupt
        save(*given)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_checkpoint", stopping)
        with pytest.raises(KeyboardInterrupt):
            rp.train_cohort(cohort(), runs_dir=runs_dir)


@pytest.mark.parametrize("count", [2, 4, 6])  # of step 0, 4 and 8, of the second member
def test_stopped_between_the_checkpoints_of_two_members_both_come_out_bit_for_bit(
    tmp_path, monkeypatch, undisturbed, count
):
    train_until_checkpoint(count, tmp_path, monkeypatch)
    first, second = (last_checkpoint(tmp_path / each.id / CHECKPOINTS) for each in undisturbed)
    assert (first, second) == {2: (0, None), 4: (4, 0), 6: (8, 4)}[count]
    rp.resume(list_runs(tmp_path))
    for run in undisturbed:
        assert_equal_runs(rp.find_run(run.id, tmp_path), run)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before_it_and_is_told_of(
    tmp_path, monkeypatch, undisturbed
):
    train_until_checkpoint(7, tmp_path, monkeypatch)
    path = checkpoint_path(tmp_path / undisturbed[1].id / CHECKPOINTS, 8)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(UserWarning, match=r"step-8.safetensors is damaged; the run can go on from step 4"):
        rp.resume(list_runs(tmp_path))
    for run in undisturbed:
        assert_equal_runs(rp.find_run(run.id, tmp_path), run)
