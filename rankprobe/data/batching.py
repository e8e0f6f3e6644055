"""From token ids to batches: which rows form a batch, and padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rankprobe.backbone import TextBatch
from rankprobe.backbone.score import IGNORED
from rankprobe.data.encoding import Encoded, Ids
from rankprobe.data.seeding import numpy_generator

LENGTH_JITTER = 0.1
"""Lengths are changed at random by up to ±10 % before sorting, so that batches differ between epochs."""


def epoch_batches(
    lengths: Sequence[int], batch_size: int, batching: str, seed: int, epoch: int, order: str = "shared"
) -> list[list[int]]:
    """The row numbers of each batch of one epoch; every row occurs once.

    If the last batch cannot be filled, the short batch is placed at random in the row order. The mean loss of
    a short batch counts as much as that of a full one, so it must not hold the longest rows in every epoch.

    Args:
        lengths: tokens per row.
        batch_size: rows per batch.
        batching: `length` sorts rows by jittered length, splits them into batches and shuffles the batches;
            `random` shuffles the rows.
        seed: of the run. It decides which rows form a batch.
        epoch: from 0.
        order: of the batches. `shared`: it depends on the epoch only, so the members of a cohort meet batches
            of similar length at the same time. `own`: it depends on the seed too.
    """
    rng = numpy_generator(seed, "order", epoch)
    if batching == "random":
        rows = rng.permutation(len(lengths))
    else:
        jitter = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(lengths))
        rows = np.argsort(np.asarray(lengths) * jitter, kind="stable")
    if order == "shared":
        rng = numpy_generator(0, "shared order", epoch)
    count = -(-len(rows) // batch_size)
    sizes = np.full(count, batch_size)
    sizes[rng.integers(count)] -= count * batch_size - len(rows)
    batches = np.split(rows, np.cumsum(sizes)[:-1])
    return [batches[i].tolist() for i in rng.permutation(count)]


def collate(
    data: Encoded,
    members: Sequence[Sequence[int]],
    pad_id: int,
    device: torch.device,
    target_rows: Sequence[Sequence[int]] | None = None,
) -> TextBatch:
    """One batch with the rows of K members, member after member, padded on the right to the longest row.

    Args:
        data: the tokenised split.
        members: row numbers per member.
        pad_id: id of the padding token.
        device: where the batch is put.
        target_rows: for each row, the row whose target it is trained on; unset: the row itself.
    """
    target_rows = members if target_rows is None else target_rows
    sources = [data.sources[row] for member in members for row in member]
    targets = [data.targets[row] for member in target_rows for row in member]
    padded = [
        _padded(sources, pad_id),
        _padded([[1] * len(ids) for ids in sources], 0),
        _padded(targets, IGNORED),
    ]
    # One copy instead of three: a GPU makes the host wait for each.
    on_device = torch.cat(padded, dim=1).to(device).split([each.shape[1] for each in padded], dim=1)
    input_ids, attention_mask, labels = (each.contiguous() for each in on_device)
    return TextBatch(
        rows=[len(member) for member in members],
        source_lengths=[max(len(data.sources[row]) for row in member) for member in members],
        target_lengths=[max(len(data.targets[row]) for row in member) for member in target_rows],
        input_ids=input_ids,
        attention_mask=attention_mask,
        labels=labels,
    )


def _padded(rows: Sequence[Ids], fill: int) -> Int64[Tensor, "B T"]:
    tensors = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=fill)
