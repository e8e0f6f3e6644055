"""From examples to token batches: tokenised once, batched by length, padded for a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankprobe.backbone import TextBatch
from rankprobe.backbone.score import IGNORED
from rankprobe.errors import RankprobeError
from rankprobe.tasks import Example, Split, TargetStyle, Task
from rankprobe.training.seeding import numpy_generator

LENGTH_JITTER = 0.1
"""Lengths are blurred by ±10 % before sorting, so that the same rows do not always meet."""


@dataclass(frozen=True)
class Encoded:
    """A tokenised split.

    Source and target ids per example; the tokens of the longest label or answer, whether or not an example
    has it; how many rows were shortened.
    """

    examples: Sequence[Example]
    sources: list[list[int]]
    targets: list[list[int]]
    longest_label: int
    n_shortened: int

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def lengths(self) -> list[int]:
        """Source tokens per example."""
        return [len(source) for source in self.sources]


def encode(split: Split, tokenizer: Any, style: TargetStyle, max_length: int) -> Encoded:
    """Tokenise a split; the training split as its lessons, which all have a target.

    A source longer than `max_length` loses words of the task's long field only.

    Raises:
        RankprobeError: a training split from which nothing can be learned.
    """
    task, examples = split.task, split.examples
    if split.name == "train":
        examples = [lesson for example in examples for lesson in task.lessons(example)]
    if not examples:
        raise RankprobeError(f"{split.origin}: no row of {task.title} has a target to learn from")
    sources = tokenizer([task.source(example.fields) for example in examples]).input_ids
    too_long = [i for i, ids in enumerate(sources) if len(ids) > max_length]
    for i in too_long:
        sources[i] = _shortened(task, examples[i], tokenizer, max_length)
    targets = tokenizer([task.target(example, style) for example in examples]).input_ids
    accepted = [*task.answer_set(style), *(text for example in examples for text in example.answers)]
    longest = max(map(len, tokenizer(accepted).input_ids))
    return Encoded(examples, sources, targets, longest, len(too_long))


def _shortened(task: Task, example: Example, tokenizer: Any, max_length: int) -> list[int]:
    """The source with as many words of the long field as fit; if not even none fit, cut at the end."""
    words = example.fields[task.long_field].split()

    def ids(kept: int) -> list[int]:
        part = words[len(words) - kept :] if task.keep == "end" else words[:kept]
        return tokenizer(task.source({**example.fields, task.long_field: " ".join(part)})).input_ids

    fits, breaks = 0, len(words)
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        fits, breaks = (middle, breaks) if len(ids(middle)) <= max_length else (fits, middle)
    kept = ids(fits)
    return kept if len(kept) <= max_length else [*kept[: max_length - 1], kept[-1]]


def epoch_batches(
    lengths: Sequence[int], batch_size: int, batching: str, seed: int, epoch: int
) -> list[list[int]]:
    """The row numbers of each batch of one epoch; every row occurs once.

    `length` sorts by blurred length, cuts into batches, and shuffles their order; `random` shuffles rows.
    """
    rng = numpy_generator(seed, "order", epoch)
    if batching == "random":
        order = rng.permutation(len(lengths))
    else:
        blur = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(lengths))
        order = np.argsort(np.asarray(lengths) * blur, kind="stable")
    batches = [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def collate(data: Encoded, members: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> TextBatch:
    """One batch of K members' rows, member after member, padded on the right to the longest."""
    rows = [row for member in members for row in member]
    sources = [data.sources[row] for row in rows]
    return TextBatch(
        rows=[len(member) for member in members],
        source_lengths=[max(len(data.sources[row]) for row in member) for member in members],
        target_lengths=[max(len(data.targets[row]) for row in member) for member in members],
        input_ids=_padded(sources, pad_id).to(device),
        attention_mask=_padded([[1] * len(ids) for ids in sources], 0).to(device),
        labels=_padded([data.targets[row] for row in rows], IGNORED).to(device),
    )


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    table = torch.full((len(rows), max(map(len, rows))), fill, dtype=torch.long)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.tensor(row)
    return table
