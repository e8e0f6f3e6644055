"""Answers and scores of K prompts in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankprobe.backbone import Backbone, PromptInput, TextBatch, decode, likeliest
from rankprobe.data.batching import collate
from rankprobe.data.eval_set import EvalSet
from rankprobe.tasks import score

PROMPTS_PER_PASS = 5
"""More prompts in one pass are not faster on a CPU."""


def answer(
    eval_set: EvalSet, backbone: Backbone, prompt_inputs: Sequence[PromptInput], batch_size: int, scoring: str
) -> list[list[str]]:
    """Answer all examples of the evaluation set with each of K prompts.

    Args:
        eval_set: the tokenised examples.
        backbone: the frozen model.
        prompt_inputs: K prompts.
        batch_size: rows per prompt and pass.
        scoring: `greedy` (decode; the answer may be any text) or `rank` (the most likely candidate).

    Returns:
        K lists of answers, in the order of the examples.
    """
    data = eval_set.data
    by_length = np.argsort(data.lengths, kind="stable")
    answers = [[""] * len(data) for _ in prompt_inputs]
    for start in range(0, len(data), batch_size):
        rows = by_length[start : start + batch_size].tolist()
        batch = collate(data, [rows] * len(prompt_inputs), backbone.tokenizer.pad_token_id, backbone.device)
        if scoring == "greedy":
            texts = decode(backbone, prompt_inputs, batch, eval_set.max_new_tokens)
        else:
            texts = _ranked(eval_set, backbone, prompt_inputs, batch, rows)
        for member, member_texts in enumerate(texts):
            for row, text in zip(rows, member_texts, strict=True):
                answers[member][row] = text
    return answers


def in_passes(prompt_inputs: Sequence[PromptInput]) -> list[Sequence[PromptInput]]:
    """Any number of prompts, in groups for one pass each."""
    firsts = range(0, len(prompt_inputs), PROMPTS_PER_PASS)
    return [prompt_inputs[first : first + PROMPTS_PER_PASS] for first in firsts]


def _ranked(
    eval_set: EvalSet,
    backbone: Backbone,
    prompt_inputs: Sequence[PromptInput],
    batch: TextBatch,
    rows: Sequence[int],
) -> list[list[str]]:
    texts = [eval_set.task.candidates(eval_set.data.examples[row], eval_set.targets) for row in rows]
    ids = [backbone.answer_ids(candidates) for candidates in texts]
    best = iter(likeliest(backbone, prompt_inputs, batch, ids * len(prompt_inputs)))
    return [[candidates[next(best)] for candidates in texts] for _ in prompt_inputs]


def evaluate_prompts(
    eval_set: EvalSet, backbone: Backbone, prompt_inputs: Sequence[PromptInput], batch_size: int
) -> list[list[dict[str, Any]]]:
    """Score K prompts on the evaluation set.

    Returns:
        For each prompt a row per part of the set, way of scoring, and metric, each with its baseline. The
        first row is the score that chooses the best prompt.
    """
    answers = {
        scoring: answer(eval_set, backbone, prompt_inputs, batch_size, scoring)
        for scoring in eval_set.scoring
    }
    return [
        [
            row
            for part in eval_set.parts
            for scoring, by_member in answers.items()
            for row in score_answers(eval_set, by_member[member], part, scoring)
        ]
        for member in range(len(prompt_inputs))
    ]


def score_answers(eval_set: EvalSet, texts: Sequence[str], part: str, scoring: str) -> list[dict[str, Any]]:
    """A row per metric: the score of the answers to one part of the evaluation set.

    Args:
        eval_set: the examples.
        texts: an answer to each example of the whole set.
        part: which examples are scored.
        scoring: how the answers were found, `greedy` or `rank`.
    """
    rows = eval_set.parts[part]
    examples = [eval_set.data.examples[row] for row in rows]
    scores = score(eval_set.task, examples, [texts[row] for row in rows], eval_set.targets)
    return [
        {
            "split": part,
            "scoring": scoring,
            "metric": metric,
            "value": value,
            "n_examples": len(rows),
            "n_invalid": scores.n_invalid,
            "baseline": eval_set.baseline[part][metric],
        }
        for metric, value in scores.values.items()
    ]
