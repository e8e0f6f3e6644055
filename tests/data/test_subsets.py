"""Few shots and held-back halves: the right rows, the same for every method, and written down."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.config.sections import TaskConfig
from rankprobe.data.subsets import dev_parts, training_rows
from rankprobe.errors import RankprobeError
from rankprobe.tasks import TASKS, load_split
from rankprobe.tasks.base import Example
from rankprobe.training.loop import forward_backward

EXAMPLES = [Example({}, label) for label in [0] * 40 + [1] * 50 + [2] * 10]


@pytest.mark.parametrize("shots", [8, 16, 32])
def test_shots_are_a_function_of_the_seed(shots):
    rows = training_rows(EXAMPLES, TaskConfig(shots=shots), seed=1)
    assert rows == sorted(set(rows))
    assert len(rows) == shots
    assert rows == training_rows(EXAMPLES, TaskConfig(shots=shots, scoring="rank"), seed=1)
    assert rows != training_rows(EXAMPLES, TaskConfig(shots=shots), seed=2)
    assert training_rows(EXAMPLES, TaskConfig(), seed=1) == list(range(100))


def test_fewer_shots_are_among_more():
    """So a curve over the number of shots adds rows, and exchanges none."""
    few, more = (set(training_rows(EXAMPLES, TaskConfig(shots=k), seed=3)) for k in (8, 16))
    assert few < more


def test_balanced_shots():
    rows = training_rows(EXAMPLES, TaskConfig(shots=16, balanced=True), seed=1)
    assert Counter(EXAMPLES[row].label for row in rows) == {0: 6, 1: 5, 2: 5}
    assert Counter(EXAMPLES[row].label for row in training_rows(EXAMPLES, TaskConfig(shots=16), 1)) != {
        0: 6,
        1: 5,
        2: 5,
    }


def test_too_many_shots():
    with pytest.raises(RankprobeError, match="shots is 101, but there are 100 training examples"):
        training_rows(EXAMPLES, TaskConfig(shots=101), 1)
    with pytest.raises(
        RankprobeError, match="shots is 36, balanced: 12 examples of label 2 needed, but there are 10"
    ):
        training_rows(EXAMPLES, TaskConfig(shots=36, balanced=True), 1)


def test_runs_train_on_their_shots_only_and_log_them(tmp_path, monkeypatch):
    """Members of one cohort with different seeds and methods, each on its own rows."""
    seen: dict[str, set[int]] = {}

    def spy(session, step, members):
        for member in members:
            seen.setdefault(member.run.id, set()).update(member.rows(step))
        forward_backward(session, step, members)

    monkeypatch.setattr("rankprobe.training.loop.forward_backward", spy)
    configs = [
        quick(method=method, seed=seed, shots=16, steps=4, batch_size=8)
        for method in ("probe", "vanilla") for seed in (1, 2)
    ]  # fmt: skip
    runs = rp.train_cohort(configs, runs_dir=tmp_path)
    rows = {
        (run.manifest["config"]["method"], run.manifest["seed"]): run.manifest["data"]["train_rows"]
        for run in runs
    }
    assert rows["probe", 1] == rows["vanilla", 1] != rows["probe", 2] == rows["vanilla", 2]
    for run in runs:
        assert seen[run.id] == set(run.manifest["data"]["train_rows"])
        assert run.manifest["data"]["n_train"] == 16
        assert run.log("evals")["epoch"].max() == 2  # two batches an epoch


def test_wsc_rows_are_numbered_as_in_the_file(tmp_path):
    run = rp.train(quick(task="wsc", shots=8, steps=1), runs_dir=tmp_path)
    examples = load_split(TASKS["wsc"], "train", "bundled").examples
    assert all(examples[row].label == 1 for row in run.manifest["data"]["train_rows"])


def test_halves_of_dev():
    parts = dev_parts(EXAMPLES, "half")
    assert sorted(parts["selection"] + parts["report"]) == list(range(100))
    assert len(parts["selection"]) == len(parts["report"]) == 50
    assert parts == dev_parts(EXAMPLES, "half")
    assert dev_parts(EXAMPLES, "all") == {"validation": list(range(100))}
    grouped = [dataclasses.replace(e, group=str(i // 5)) for i, e in enumerate(EXAMPLES)]
    for rows in dev_parts(grouped, "half").values():
        assert Counter(Counter(row // 5 for row in rows).values()) == {5: 10}
    with pytest.raises(RankprobeError, match="dev has a single question"):
        dev_parts(EXAMPLES[:1], "half")


def test_best_is_chosen_on_one_half_and_reported_on_the_other(tmp_path, capsys, monkeypatch):
    """With answers that are right on the report half only at the step that selection finds worst."""

    step = 0

    def fixed(eval_set, backbone, prompt_inputs, batch_size, scoring):
        nonlocal step
        right = eval_set.parts["selection" if step == 1 else "report"]
        step += 1
        examples = eval_set.data.examples
        texts = [
            eval_set.task.target(e, eval_set.targets) if i in set(right) else "no"
            for i, e in enumerate(examples)
        ]
        return [texts for _ in prompt_inputs]

    monkeypatch.setattr("rankprobe.evaluation.scoring.answer", fixed)
    run = rp.train(quick(report_split="half", steps=2, eval_every=1), runs_dir=tmp_path)
    evals = run.log("evals").query("metric == 'accuracy'")
    assert set(evals["split"]) == {"selection", "report"}
    assert evals["n_examples"].eq(28).all()
    progress = run.manifest["progress"]
    assert (progress["best"], progress["best_step"], progress["report_best"]) == (100.0, 1, 0.0)
    assert (progress["last"], progress["report_last"]) == (0.0, 100.0)
    assert "report half" in run.manifest["selection"]
    from rich.console import Console

    from rankprobe.cli.show import summary

    summary(Console(width=200), run)
    assert "held-back half of dev  at the best step 0.0, last 100.0" in capsys.readouterr().out
