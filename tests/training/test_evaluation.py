"""Answers are decoded as far as the longest label, matched exactly, and put back in the order of the rows."""

from __future__ import annotations

import torch
from conftest import quick

from rankprobe.training import evaluation
from rankprobe.training.evaluation import evaluate
from rankprobe.training.session import open_session


def answering(session, answer):
    """A stand-in for `decode`: what `answer` says to the row with these source ids."""
    rows = {tuple(ids): row for row, ids in enumerate(session.validation.sources)}
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
    examples, task = session.validation.examples, session.task
    decode, limits = answering(session, lambda row: task.target(examples[row], "words"))
    monkeypatch.setattr(evaluation, "decode", decode)
    prompts = [torch.zeros(8, 128), torch.ones(8, 128)]
    for rows in evaluate(session, prompts, 10, step=3):
        assert {row["metric"]: row["value"] for row in rows} == {"accuracy": 100.0, "macro_f1": 100.0}
        assert all(row["n_invalid"] == 0 and row["n_examples"] == 56 for row in rows)
    lengths = [len(session.backbone.tokenizer(text).input_ids) for text in task.labels]
    assert limits == {max(lengths)}


def test_answers_outside_the_label_set_are_wrong_and_counted(monkeypatch):
    session = open_session([quick()])
    examples, task = session.validation.examples, session.task
    decode, _ = answering(session, lambda row: "7" if row < 14 else task.target(examples[row], "digits"))
    monkeypatch.setattr(evaluation, "decode", decode)
    ((accuracy, f1),) = evaluate(session, [torch.zeros(8, 128)], 10, step=0)
    assert (accuracy["value"], accuracy["n_invalid"]) == (75.0, 14)
    assert f1["value"] < 100
