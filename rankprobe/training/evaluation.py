"""Dev scores of K prompts in one pass, from greedy answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rankprobe.backbone import decode
from rankprobe.tasks import score
from rankprobe.training.batching import collate
from rankprobe.training.session import Session


def answers(session: Session, prompts: Sequence[Tensor], batch_size: int) -> list[list[str]]:
    """Each prompt's answers to the whole validation split, in the order of its rows."""
    data, backbone = session.validation, session.backbone
    by_length = np.argsort(data.lengths, kind="stable")
    given = [[""] * len(data) for _ in prompts]
    for start in range(0, len(data), batch_size):
        rows = by_length[start : start + batch_size].tolist()
        batch = collate(data, [rows] * len(prompts), backbone.tokenizer.pad_token_id, backbone.device)
        for member, texts in enumerate(decode(backbone, prompts, batch, data.longest_label)):
            for row, text in zip(rows, texts, strict=True):
                given[member][row] = text
    return given


def evaluate(
    session: Session, prompts: Sequence[Tensor], batch_size: int, step: int
) -> list[list[dict[str, Any]]]:
    """For each prompt, the rows of `evals`: one per metric, with the majority score beside it."""
    examples, majority = session.validation.examples, session.majority
    scores = [
        score(session.task, examples, given, session.style) for given in answers(session, prompts, batch_size)
    ]
    return [
        [
            {
                "step": step,
                "epoch": step / session.steps_per_epoch,
                "split": "validation",
                "metric": metric,
                "value": value,
                "n_examples": len(examples),
                "n_invalid": each.n_invalid,
                "majority": majority[metric],
            }
            for metric, value in each.values.items()
        ]
        for each in scores
    ]
