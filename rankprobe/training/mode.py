"""The state of the backbone in a training pass: dropout, or gradient checkpointing, or neither."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from rankprobe.backbone import Backbone, MemberDropout, TextBatch, recomputing
from rankprobe.training.session import Session


@contextlib.contextmanager
def training_mode(
    session: Session, n: int, batch: TextBatch, generators: Sequence[torch.Generator]
) -> Iterator[None]:
    """Inside this context the backbone drops out, or recomputes its blocks, if the config asks for it.

    Args:
        session: whose backbone.
        n: prompt length.
        batch: the rows of K members.
        generators: K, from which the members draw their dropout masks; not used without dropout.
    """
    config, model = session.backbone_config, session.backbone.model
    if config.gradient_checkpointing:
        with recomputing(model):
            yield
    elif config.dropout:
        model.train()
        try:
            with MemberDropout(generators, batch.rows, sequence_lengths(session.backbone, n, batch)):
                yield
        finally:
            model.eval()
    else:
        yield


def sequence_lengths(backbone: Backbone, n: int, batch: TextBatch) -> dict[int, Sequence[int]]:
    """For each length of a sequence in the batch, the lengths it would have for each member alone."""
    sources = [n + length for length in batch.source_lengths]
    padded, answers = n + batch.input_ids.shape[1], batch.labels.shape[1]
    if not backbone.causal:
        return {answers: batch.target_lengths, padded: sources}
    return {padded + answers: [s + t for s, t in zip(sources, batch.target_lengths, strict=True)]}
