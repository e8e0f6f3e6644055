"""Dev scores of K prompts in one pass: greedy answers, matched exactly against the label texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rankprobe.backbone import decode
from rankprobe.tasks import INVALID, score
from rankprobe.training.batching import collate
from rankprobe.training.session import Session


def predictions(session: Session, prompts: Sequence[Tensor], batch_size: int) -> list[list[int]]:
    """Each prompt's predicted class ids over the whole validation split; `INVALID` outside the label set."""
    data, backbone = session.validation, session.backbone
    ids = {text: label for label, text in enumerate(session.answers)}
    by_length = np.argsort(data.lengths, kind="stable")
    predicted = [[INVALID] * len(data) for _ in prompts]
    for start in range(0, len(data), batch_size):
        rows = by_length[start : start + batch_size].tolist()
        batch = collate(data, [rows] * len(prompts), backbone.tokenizer.pad_token_id, backbone.device)
        for member, texts in enumerate(decode(backbone, prompts, batch, data.longest_label)):
            for row, text in zip(rows, texts, strict=True):
                predicted[member][row] = ids.get(text, INVALID)
    return predicted


def evaluate(
    session: Session, prompts: Sequence[Tensor], batch_size: int, step: int
) -> list[list[dict[str, Any]]]:
    """For each prompt, the rows of `evals`: one per metric, with the majority score beside it."""
    gold, task = session.validation.gold, session.task
    majority = session.majority
    return [
        [
            {
                "step": step,
                "epoch": step / session.steps_per_epoch,
                "split": "validation",
                "metric": metric,
                "value": value,
                "n_examples": len(gold),
                "n_invalid": predicted.count(INVALID),
                "majority": majority[metric],
            }
            for metric, value in score(task.metrics, gold, predicted, len(task.labels)).items()
        ]
        for predicted in predictions(session, prompts, batch_size)
    ]
