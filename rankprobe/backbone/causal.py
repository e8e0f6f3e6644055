"""Decoder-only models: prompt, text and answer stand in one sequence."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def answer_logits(model: Any, embeds: Tensor, mask: Tensor, answers: Tensor, present: Tensor) -> Tensor:
    """Logits (R, L, vocabulary) of each answer position, teacher-forced.

    Each answer follows its own text, and padding comes last, so positions need no care.

    Args:
        model: the decoder-only model.
        embeds: (R, n + T, d), prompt and text, padded on the right.
        mask: (R, n + T), 1 where there is something.
        answers: (R, L) token ids, any id on padding.
        present: (R, L), 1 on tokens of the answers.
    """
    places = mask.sum(1, keepdim=True) + torch.arange(answers.shape[1], device=mask.device)
    room = embeds.new_zeros(answers.shape[0], answers.shape[1], embeds.shape[2])
    index = places.unsqueeze(-1).expand_as(room)
    whole = torch.cat([embeds, room], dim=1).scatter(1, index, model.get_input_embeddings()(answers))
    whole_mask = torch.cat([mask, torch.zeros_like(present)], dim=1).scatter(1, places, present)
    before, first, needed = places - 1, 0, {}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        first = int(before.min())
        needed = {"logits_to_keep": torch.arange(first, int(before.max()) + 1, device=mask.device)}
    logits = model(inputs_embeds=whole, attention_mask=whole_mask, use_cache=False, **needed).logits
    return logits.gather(1, (before - first).unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


def padded_left(embeds: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (R, S, d) that were padded on the right, padded on the left: generation goes on from the end."""
    places = torch.arange(mask.shape[1], device=mask.device) - (mask.shape[1] - mask.sum(1, keepdim=True))
    index = places % mask.shape[1]
    moved = embeds.gather(1, index.unsqueeze(-1).expand_as(embeds))
    return moved, mask.gather(1, index)


@contextmanager
def attention_for_padding(model: Any) -> Iterator[None]:
    """Inside this context attention is PyTorch's own: the eager one gives NaN for padding on the left."""
    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
