"""Scores of K prompts in one pass: answers by greedy decoding, by likelihood, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankprobe.backbone import Backbone, Soft, TextBatch, decode, likeliest
from rankprobe.tasks import score
from rankprobe.training.batching import collate
from rankprobe.training.exam import Exam


def answers(
    exam: Exam, backbone: Backbone, softs: Sequence[Soft], batch_size: int, scoring: str
) -> list[list[str]]:
    """Each member's answers to the whole exam, in the order of its examples.

    Args:
        exam: what is asked.
        backbone: which the prompts steer.
        softs: K, what each member gives to the input.
        batch_size: rows per prompt and pass.
        scoring: `greedy` (decoded, any text can come) or `rank` (the likeliest of the row's candidates).
    """
    data = exam.data
    by_length = np.argsort(data.lengths, kind="stable")
    given = [[""] * len(data) for _ in softs]
    for start in range(0, len(data), batch_size):
        rows = by_length[start : start + batch_size].tolist()
        batch = collate(data, [rows] * len(softs), backbone.tokenizer.pad_token_id, backbone.device)
        if scoring == "greedy":
            texts = decode(backbone, softs, batch, exam.max_new_tokens)
        else:
            texts = _ranked(exam, backbone, softs, batch, rows)
        for member, each in enumerate(texts):
            for row, text in zip(rows, each, strict=True):
                given[member][row] = text
    return given


def _ranked(
    exam: Exam, backbone: Backbone, softs: Sequence[Soft], batch: TextBatch, rows: Sequence[int]
) -> list[list[str]]:
    texts = [exam.task.candidates(exam.data.examples[row], exam.targets) for row in rows]
    ids = [backbone.answer_ids(candidates) for candidates in texts]
    best = iter(likeliest(backbone, softs, batch, ids * len(softs)))
    return [[candidates[next(best)] for candidates in texts] for _ in softs]


def evaluate(
    exam: Exam, backbone: Backbone, softs: Sequence[Soft], batch_size: int
) -> list[list[dict[str, Any]]]:
    """For each member, its scores: one row per part of the exam, way of answering, and metric.

    The first row is the one that chooses the best prompt. The majority score stands beside each.
    """
    given = {scoring: answers(exam, backbone, softs, batch_size, scoring) for scoring in exam.scoring}
    return [
        [
            row
            for part in exam.parts
            for scoring, members in given.items()
            for row in scored(exam, members[member], part, scoring)
        ]
        for member in range(len(softs))
    ]


def scored(exam: Exam, texts: Sequence[str], part: str, scoring: str) -> list[dict[str, Any]]:
    """The scores of answers to the exam in one part of it, a row per metric."""
    rows = exam.parts[part]
    examples = [exam.data.examples[row] for row in rows]
    found = score(exam.task, examples, [texts[row] for row in rows], exam.targets)
    return [
        {
            "split": part,
            "scoring": scoring,
            "metric": metric,
            "value": value,
            "n_examples": len(rows),
            "n_invalid": found.n_invalid,
            "majority": exam.majority[part][metric],
        }
        for metric, value in found.values.items()
    ]
