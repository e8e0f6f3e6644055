"""Control runs: texts with labels that say nothing about them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.data.batching import collate
from rankprobe.data.subsets import target_rows
from rankprobe.training.session import open_session

TARGETS = [[1, 9]] * 6 + [[2, 9]] * 3 + [[3, 9]]


def test_without_control_a_row_is_taught_its_own_target():
    assert target_rows(TARGETS, [1, 4], "none", 0) == {1: 1, 4: 4}


def test_shuffled_labels_are_as_frequent_as_before_and_come_from_the_runs_own_rows():
    rows = [0, 2, 5, 6, 7, 9]
    taught = target_rows(TARGETS, rows, "shuffle-labels", 0)
    assert sorted(taught) == sorted(taught.values()) == rows
    assert list(taught.values()) != rows
    assert taught == target_rows(TARGETS, rows, "shuffle-labels", 0)
    assert taught != target_rows(TARGETS, rows, "shuffle-labels", 1)


def test_random_labels_are_equally_likely_however_rare_they_were():
    rows = list(range(10)) * 300
    taught = [target_rows(TARGETS, list(range(10)), "random-labels", seed) for seed in range(300)]
    counts = Counter(TARGETS[row][0] for each in taught for row in each.values())
    assert set(counts) == {1, 2, 3}
    assert all(abs(count / len(rows) - 1 / 3) < 0.03 for count in counts.values())


def test_a_batch_has_the_texts_of_its_rows_and_the_targets_it_is_taught():
    session = open_session([quick()])
    plain = collate(session.train, [[0, 1]], 0, torch.device("cpu"))
    crossed = collate(session.train, [[0, 1]], 0, torch.device("cpu"), [[1, 0]])
    assert torch.equal(plain.input_ids, crossed.input_ids)
    assert torch.equal(plain.labels.flip(0), crossed.labels)


@pytest.mark.parametrize("control", ["shuffle-labels", "random-labels"])
def test_a_control_run_trains_on_other_labels_and_is_scored_on_the_real_ones(tmp_path, control):
    plain = rp.train(quick(steps=3), runs_dir=tmp_path)
    run = rp.train(quick(steps=3, control=control), runs_dir=tmp_path)
    assert run.id != plain.id
    first, other = (each.log("evals").query("step == 0")["value"].tolist() for each in (plain, run))
    assert first == other
    assert (plain.log("steps")["loss"].dropna() != run.log("steps")["loss"].dropna()).all()
    assert "nothing is to be learned" in " ".join(run.manifest["notes"])
