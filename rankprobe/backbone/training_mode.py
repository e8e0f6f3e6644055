"""The state of the backbone in a training pass: with dropout, with recomputation, or with neither."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.checkpointing import recomputing
from rankprobe.backbone.dropout import MemberDropout
from rankprobe.backbone.score import TextBatch


@runtime_checkable
class Mode(Protocol):
    """The settings that decide."""

    @property
    def dropout(self) -> bool: ...
    @property
    def gradient_checkpointing(self) -> bool: ...


@contextlib.contextmanager
def training_mode(
    backbone: Backbone, mode: Mode, n: int, batch: TextBatch, generators: Sequence[torch.Generator]
) -> Iterator[Backbone]:
    """Inside this context the backbone applies dropout, or recomputes its blocks, if `mode` says so.

    In both cases it yields a backbone that reads a prompt again for each text: dropout differs between rows,
    and blocks that are recomputed keep no keys and values.

    Args:
        backbone: the frozen model.
        mode: a config.
        n: prompt length.
        batch: the rows of K members.
        generators: K, from which the members draw their dropout masks; not used without dropout.
    """
    if mode.gradient_checkpointing:
        with recomputing(backbone.model):
            yield replace(backbone, prompt_once=False)
    elif mode.dropout:
        backbone.model.train()
        try:
            with MemberDropout(generators, batch.rows, sequence_lengths(backbone, n, batch)):
                yield replace(backbone, prompt_once=False)
        finally:
            backbone.model.eval()
    else:
        yield backbone


def sequence_lengths(backbone: Backbone, n: int, batch: TextBatch) -> dict[int, Sequence[int]]:
    """For each length of a sequence in the batch, the lengths it would have for each member alone."""
    sources = [n + length for length in batch.source_lengths]
    padded, answers = n + batch.input_ids.shape[1], batch.labels.shape[1]
    if not backbone.causal:
        return {answers: batch.target_lengths, padded: sources}
    return {padded + answers: [s + t for s, t in zip(sources, batch.target_lengths, strict=True)]}
