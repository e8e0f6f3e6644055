"""What a task looks like before training: counts, label balance, text lengths, baseline and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from rankprobe.backbone.load import load_tokenizer
from rankprobe.backbone.tokenizers import loses_characters, unknown_id
from rankprobe.tasks import SPLITS, baseline_scores, get_task, load_split

EXAMPLES = 2
"""Number of training examples in a description."""


@dataclass(frozen=True)
class SplitDescription:
    """The rows of one split.

    Attributes:
        split: `train` or `validation`.
        n_examples: number of examples.
        origin: where the rows are from.
        labels: number of examples by label; None for a task without labels.
        source_tokens: `min`, `median`, `p95` (95th percentile) and `max` of the token counts of source texts.
        n_unrepresentable: texts with characters that the tokenizer cannot represent.
    """

    split: str
    n_examples: int
    origin: str
    labels: Mapping[str, int] | None
    source_tokens: Mapping[str, int]
    n_unrepresentable: int


@dataclass(frozen=True)
class TaskDescription:
    """A task as a run would use it.

    Attributes:
        name: the task as it was given.
        label: its name in outputs, such as `miniature CB`.
        splits: a description of each split.
        answers: the tokens of each label text, as they are after a space; empty for a task without labels.
        notes: remarks on the answers.
        baselines: score in percent by metric, on validation, of the best answers that ignore the texts.
        examples: the first pairs of source and target text in the training rows.
    """

    name: str
    label: str
    splits: Sequence[SplitDescription]
    answers: Mapping[str, Sequence[str]]
    notes: Sequence[str]
    baselines: Mapping[str, float]
    examples: Sequence[Mapping[str, str]]


def describe_task(name: str, data: str, targets: str, tokenizer: str | None = None) -> TaskDescription:
    """Describe a task as a run would use it.

    Args:
        name: a task, a TOML file or a folder.
        data: `bundled`, `bundled-500`, `hub`, or a folder.
        targets: label texts, as in the setting `targets`.
        tokenizer: hub id or folder; None: the tokenizer of `tiny`.

    Raises:
        RankprobeError: task, data, targets or tokenizer are unknown, or do not fit each other.
    """
    task = get_task(name)
    task.check_targets(targets)
    tok = load_tokenizer(tokenizer or "tiny")
    splits = {split: load_split(task, split, data) for split in SPLITS}
    described = []
    for split_name, split in splits.items():
        counts = Counter(task.labels[example.label] for example in split.examples) if task.labels else None
        texts = [task.source(example.fields) for example in split.examples]
        ids_per_text = tok(texts).input_ids
        quantiles = np.quantile([len(ids) for ids in ids_per_text], (0, 0.5, 0.95, 1)).round().astype(int)
        pairs, unknown = zip(ids_per_text, loses_characters(tok, texts), strict=True), unknown_id(tok)
        described.append(
            SplitDescription(
                split=split_name,
                n_examples=len(split.examples),
                origin=split.origin,
                labels=None if counts is None else {label: counts[label] for label in task.labels},
                source_tokens=dict(zip(("min", "median", "p95", "max"), quantiles.tolist(), strict=True)),
                n_unrepresentable=sum(lost or unknown in ids for ids, lost in pairs),
            )
        )
    answers = {text: _tokens(tok, text) for text in task.answer_set(targets)}
    rows = splits["train"].examples
    shown = islice((example for row in rows for example in task.training_examples(row)), EXAMPLES)
    return TaskDescription(
        name=name,
        label=splits["train"].label,
        splits=described,
        answers=answers,
        notes=[*task.notes(targets), *_shared_start(answers)],
        baselines=baseline_scores(task, splits["validation"].examples, targets),
        examples=[
            {"source": task.source(example.fields), "target": task.target(example, targets)}
            for example in shown
        ],
    )


def _tokens(tokenizer: Any, text: str) -> list[str]:
    ids = tokenizer(f" {text}", add_special_tokens=False).input_ids
    return [tokenizer.decode([each]).strip() for each in ids]


def _shared_start(answers: Mapping[str, Sequence[str]]) -> list[str]:
    """A note on label texts that begin with the same token: a model cannot decide at the first token."""
    by_first: dict[str, list[str]] = {}
    for text, tokens in answers.items():
        by_first.setdefault(tokens[0] if tokens else "", []).append(text)
    return [
        f"the label texts {' and '.join(repr(text) for text in texts)} begin with the same token; words that "
        "differ at once, such as --targets yes,no, are easier to learn"
        for texts in by_first.values()
        if len(texts) > 1
    ]
