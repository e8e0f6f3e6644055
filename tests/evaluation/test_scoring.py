"""Answers are decoded as far as the longest label, matched exactly, and put back in the order of the rows."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import PromptInput, load_backbone
from rankprobe.backbone.load import load_tokenizer
from rankprobe.config.sections import TaskConfig
from rankprobe.data.eval_set import max_answer_length
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import prediction, scoring
from rankprobe.evaluation.evaluate import evaluate_runs
from rankprobe.evaluation.prediction import predict
from rankprobe.evaluation.scoring import evaluate_prompts
from rankprobe.evaluation.truncation import CURVES, truncate
from rankprobe.tasks import TASKS
from rankprobe.training.session import open_session


def answering(session, answer):
    """A stand-in for `decode`: what `answer` says to the row with these source ids."""
    rows = {tuple(ids): row for row, ids in enumerate(session.eval_set.data.sources)}
    limits = set()

    def decode(backbone, prompts, batch, max_new_tokens):
        limits.add(max_new_tokens)
        texts = iter(
            answer(rows[tuple(ids[mask.bool()].tolist())])
            for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        )
        return [[next(texts) for _ in range(count)] for count in batch.rows]

    return decode, limits


def test_a_perfect_predictor_scores_100_over_several_batches(monkeypatch):
    session = open_session([quick(targets="words")])
    examples, task = session.eval_set.data.examples, session.task
    decode, limits = answering(session, lambda row: task.target(examples[row], "words"))
    monkeypatch.setattr(scoring, "decode", decode)
    prompts = [PromptInput(torch.zeros(8, 128)), PromptInput(torch.ones(8, 128))]
    for rows in evaluate_prompts(session.eval_set, session.backbone, prompts, 10):
        assert {row["metric"]: row["value"] for row in rows} == {"accuracy": 100.0, "macro_f1": 100.0}
        assert all(row["n_invalid"] == 0 and row["n_examples"] == 56 for row in rows)
    lengths = [len(session.backbone.tokenizer(text).input_ids) for text in task.labels]
    assert limits == {max(lengths)}


def test_the_answers_of_dev_do_not_say_how_long_an_answer_may_get(tmp_path, monkeypatch):
    for split, target in (("train", "a lamp"), ("val", "a lamp and a cup and a lamp and a cup")):
        (tmp_path / f"{split}.jsonl").write_text(
            json.dumps({"source": "the man ran", "target": target}) + "\n"
        )
    run = rp.train(quick(task=str(tmp_path), steps=1), runs_dir=tmp_path / "runs")
    taught = len(load_tokenizer("tiny")("a lamp").input_ids)
    assert run.manifest["data"]["max_new_tokens"] == taught
    limits = []

    def decode(backbone, prompts, batch, max_new_tokens):
        limits.append(max_new_tokens)
        return [[""] * count for count in batch.rows]

    monkeypatch.setattr(scoring, "decode", decode)
    monkeypatch.setattr(prediction, "decode", decode)
    evaluate_runs([run])
    evaluate_runs([run], task="wsc", data="bundled")
    truncate(run, ks=[1])
    predict([(run, "the man ran")])
    run.update({"data": {k: v for k, v in run.manifest["data"].items() if k != "max_new_tokens"}})
    evaluate_runs([run])  # a manifest of an earlier version does not say
    backbone = load_backbone("random:tiny")
    wsc = max_answer_length(TaskConfig(task="wsc", data="bundled"), backbone)
    assert limits == [taught, *[wsc] * limits.count(wsc), *[taught] * len(CURVES), [taught], taught]
    assert wsc != taught


def test_answers_outside_the_label_set_are_wrong_and_counted(monkeypatch):
    session = open_session([quick()])
    examples, task = session.eval_set.data.examples, session.task
    decode, _ = answering(session, lambda row: "7" if row < 14 else task.target(examples[row], "digits"))
    monkeypatch.setattr(scoring, "decode", decode)
    ((accuracy, f1),) = evaluate_prompts(
        session.eval_set, session.backbone, [PromptInput(torch.zeros(8, 128))], 10
    )
    assert (accuracy["value"], accuracy["n_invalid"]) == (75.0, 14)
    assert f1["value"] < 100


def test_ranking_never_leaves_the_label_set_and_both_are_logged():
    session = open_session([quick(scoring="both", model="tiny")])
    P = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
    (rows,) = evaluate_prompts(session.eval_set, session.backbone, [PromptInput(P)], 10)
    by_scoring = {row["scoring"]: row for row in rows if row["metric"] == "accuracy"}
    assert by_scoring.keys() == {"greedy", "rank"}
    assert rows[0]["scoring"] == "greedy"  # the first chooses the best prompt
    assert by_scoring["greedy"]["n_invalid"] > 40 > by_scoring["rank"]["n_invalid"] == 0
    assert by_scoring["rank"]["value"] > by_scoring["greedy"]["value"]


def test_record_ranks_the_entities_of_each_row():
    session = open_session([quick(task="record", scoring="rank", model="tiny")])
    P = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
    given = scoring.answer(session.eval_set, session.backbone, [PromptInput(P)], 10, "rank")[0]
    assert all(text in e.candidates for text, e in zip(given, session.eval_set.data.examples, strict=True))


def test_what_cannot_be_ranked():
    with pytest.raises(RankprobeError, match="WSC has no answer set to rank; use --scoring greedy"):
        open_session([quick(task="wsc", scoring="rank")])


@pytest.mark.parametrize("name", TASKS)
def test_a_perfect_predictor_scores_100_on_every_task(name, monkeypatch):
    """Over many batches, so that no metric is a mean over batches: MultiRC's questions are cut apart."""
    session = open_session([quick(task=name)])
    examples = session.eval_set.data.examples
    sources = {tuple(ids): row for row, ids in enumerate(map(list, session.eval_set.data.sources))}

    def decode(backbone, prompts, batch, max_new_tokens):
        rows = [
            sources[tuple(ids[mask.bool()].tolist())]
            for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        return [[right(examples[row]) for row in rows]]

    def right(example):
        if name == "wsc" and not example.label:
            return "somebody else"
        return session.task.target(example, "digits")

    monkeypatch.setattr(scoring, "decode", decode)
    (rows,) = evaluate_prompts(session.eval_set, session.backbone, [PromptInput(torch.zeros(8, 128))], 7)
    assert {row["metric"]: row["value"] for row in rows} == dict.fromkeys(session.task.metrics, 100.0)
    assert all(row["n_invalid"] == 0 for row in rows)
