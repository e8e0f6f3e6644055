"""Dev scores of K prompts in one pass: answers by greedy decoding, by likelihood, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankprobe.backbone import Soft, TextBatch, decode, likeliest
from rankprobe.tasks import score
from rankprobe.training.batching import collate
from rankprobe.training.session import Session


def answers(session: Session, softs: Sequence[Soft], batch_size: int, scoring: str) -> list[list[str]]:
    """Each member's answers to the whole validation split, in the order of its rows.

    Args:
        session: with the split and the backbone.
        softs: K, what each member gives to the input.
        batch_size: rows per prompt and pass.
        scoring: `greedy` (decoded, any text can come) or `rank` (the likeliest of the row's candidates).
    """
    data, backbone = session.validation, session.backbone
    by_length = np.argsort(data.lengths, kind="stable")
    given = [[""] * len(data) for _ in softs]
    for start in range(0, len(data), batch_size):
        rows = by_length[start : start + batch_size].tolist()
        batch = collate(data, [rows] * len(softs), backbone.tokenizer.pad_token_id, backbone.device)
        if scoring == "greedy":
            texts = decode(backbone, softs, batch, data.longest_label)
        else:
            texts = _ranked(session, softs, batch, rows)
        for member, each in enumerate(texts):
            for row, text in zip(rows, each, strict=True):
                given[member][row] = text
    return given


def _ranked(
    session: Session, softs: Sequence[Soft], batch: TextBatch, rows: Sequence[int]
) -> list[list[str]]:
    texts = [session.task.candidates(session.validation.examples[row], session.targets) for row in rows]
    ids = [session.backbone.tokenizer(candidates).input_ids for candidates in texts]
    best = iter(likeliest(session.backbone, softs, batch, ids * len(softs)))
    return [[candidates[next(best)] for candidates in texts] for _ in softs]


def evaluate(
    session: Session, softs: Sequence[Soft], batch_size: int, step: int
) -> list[list[dict[str, Any]]]:
    """For each member, the rows of `evals`: one per part of dev, way of answering, and metric.

    The first row is the one that chooses the best prompt. The majority score stands beside each.
    """
    evals: list[list[dict[str, Any]]] = [[] for _ in softs]
    given = {scoring: answers(session, softs, batch_size, scoring) for scoring in session.scoring}
    for part, rows in session.parts.items():
        examples = [session.validation.examples[row] for row in rows]
        for scoring, members in given.items():
            for member, texts in enumerate(members):
                found = score(session.task, examples, [texts[row] for row in rows], session.targets)
                evals[member] += [
                    {
                        "step": step,
                        "epoch": step / session.steps_per_epoch,
                        "split": part,
                        "scoring": scoring,
                        "metric": metric,
                        "value": value,
                        "n_examples": len(rows),
                        "n_invalid": found.n_invalid,
                        "majority": session.majority[part][metric],
                    }
                    for metric, value in found.values.items()
                ]
    return evals
