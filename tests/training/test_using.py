"""A trained prompt does outside training what it did inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import load_backbone
from rankprobe.errors import RankprobeError
from rankprobe.training import using
from rankprobe.training.trained import neighbors
from rankprobe.training.using import evaluate_runs, predict, source_text, vote

TINY = {"model": "tiny", "steps": 30, "eval_every": 10, "prompt_length": 20}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of DPT that have begun to answer, differently."""
    folder = tmp_path_factory.mktemp("runs")
    return rp.train_cohort([quick(**TINY, method="dpt", seed=s) for s in (1, 2, 3)], runs_dir=folder)


@pytest.fixture(scope="module")
def texts(runs):
    from rankprobe.tasks import TASKS, load_split

    task = TASKS["cb"]
    return [task.source(e.fields) for e in load_split(task, "validation", "bundled").examples]


def logged(run, step):
    rows = run.log("evals").query("step == @step")
    return dict(zip(rows["metric"], rows["value"], strict=True))


def scores(frame, run_id):
    rows = frame[frame["run_id"] == run_id]
    return dict(zip(rows["metric"], rows["value"], strict=True))


def test_scores_are_those_of_training(runs):
    for which, step in (("best", "best_step"), ("final", "total_steps")):
        found = evaluate_runs(runs, which=which)
        for run in runs:
            assert scores(found, run.id) == logged(run, run.manifest["progress"][step])
    assert found["majority"].notna().all()


@pytest.mark.parametrize("method", ["dept", "finetune"])
def test_methods_that_are_more_than_a_prompt(tmp_path, method):
    settings = {"finetune": {"learning_rate": 1e-3, "prompt_length": 0}}.get(method, {"update_rate": 0.01})
    run = rp.train(quick(**{**TINY, "method": method, "steps": 40, **settings}), runs_dir=tmp_path)
    for which, step in (("best", "best_step"), ("final", "total_steps")):
        found = scores(evaluate_runs([run], which=which), run.id)
        assert found == logged(run, run.manifest["progress"][step])
    assert found["accuracy"] > 0


def test_an_ensemble_is_the_majority_of_its_members(runs, texts, monkeypatch):
    passes = []
    real = using.answers
    monkeypatch.setattr(using, "answers", lambda *args: passes.append(1) or real(*args))
    found = evaluate_runs(runs, ensemble=True)
    assert len(passes) == 1  # all prompts in one pass
    alone = [predict([(run, text) for text in texts]) for run in runs]
    assert len({tuple(each) for each in alone}) == 3
    labels = ["0", "1", "2"]
    truth = [labels[e.label] for e in _examples()]
    right = [answer == label for answer, label in zip(vote(alone), truth, strict=True)]
    assert scores(found, "ensemble of 3")["accuracy"] == pytest.approx(100 * np.mean(right))


def _examples():
    from rankprobe.tasks import TASKS, load_split

    return load_split(TASKS["cb"], "validation", "bundled").examples


def test_votes():
    assert vote([["a", "b", "c"], ["b", "b", "a"], ["b", "a", "b"]]) == ["b", "b", "c"]


def test_texts_of_many_runs_share_a_pass(runs, texts, monkeypatch):
    requests = [(runs[i % 3], text) for i, text in enumerate(texts)]
    alone = [predict([request])[0] for request in requests[:6]]
    counts = []
    real = using.decode
    monkeypatch.setattr(
        using, "decode", lambda b, softs, *rest: counts.append(len(softs)) or real(b, softs, *rest)
    )
    assert predict(requests)[:6] == alone
    assert max(counts) == 3


def test_another_task_and_the_training_rows(runs):
    transfer = evaluate_runs(runs[:1], name="rte", answers="rank")
    assert transfer["task"].unique().tolist() == ["rte"]
    assert transfer["n_invalid"].eq(0).all()
    train = evaluate_runs(runs[:1], split="train")
    assert train["n_examples"].eq(250).all()
    wsc = evaluate_runs(runs[:1], split="train", name="wsc")
    assert wsc["n_examples"].eq(554).all()  # false rows are scored, though nothing is learned from them


def test_what_cannot_be_used(tmp_path, runs):
    other = rp.train(quick(**{**TINY, "task": "rte", "steps": 2}, method="dpt"), runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match="an ensemble votes on one exam"):
        evaluate_runs([runs[0], other], ensemble=True)
    with pytest.raises(RankprobeError, match="row 3: no field 'hypothesis'"):
        source_text(runs[0], {"premise": "x"}, "row 3")


def test_a_long_text_is_cut_to_the_runs_limit(runs):
    long = "premise: " + "Nora sold the lamp. " * 500
    assert predict([(runs[0], long)])  # and does not fail


def test_the_nearest_words_of_sampled_rows_are_those_rows(tmp_path):
    run = rp.train(quick(**{**TINY, "steps": 1}, method="vanilla", warmup=1.0), runs_dir=tmp_path)
    for metric, value in (("cosine", 1.0), ("euclidean", 0.0)):
        found = neighbors(run, count=2, metric=metric, which="final")
        first = found[found["place"] == 1]
        assert first[metric].tolist() == pytest.approx([value] * 20, abs=1e-6)
    backbone = load_backbone("tiny")
    ids = backbone.tokenizer.convert_tokens_to_ids(first["piece"].tolist())
    assert torch.equal(backbone.embedding[ids], torch.from_numpy(run.prompt("P0")))
