"""Decoder-only models: prompt, text and answer form one sequence."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from rankprobe.backbone.base import Backbone


def answer_logits(backbone: Backbone, embeds: Tensor, mask: Tensor, answers: Tensor) -> Tensor:
    """Logits (R, L, V) of each answer position, with teacher forcing.

    Each answer follows its own text directly; padding comes last. Padding is not masked, because no token
    before it attends to it: with a sliding window, a masked row may attend to nothing, which gives NaN in
    float64.

    Args:
        backbone: the decoder-only model.
        embeds: (R, n + T, d), prompt and text, padded on the right.
        mask: (R, n + T), 1 on real tokens.
        answers: (R, L) token ids, any id on padding.
    """
    places = mask.sum(1, keepdim=True) + torch.arange(answers.shape[1], device=mask.device)
    room = embeds.new_zeros(answers.shape[0], answers.shape[1], embeds.shape[2])
    index = places.unsqueeze(-1).expand_as(room)
    whole = torch.cat([embeds, room], dim=1).scatter(1, index, backbone.embed(answers))
    before, first, needed = places - 1, 0, {}
    if "logits_to_keep" in arguments(backbone):
        first = int(before.min())
        needed = {"logits_to_keep": torch.arange(first, int(before.max()) + 1, device=mask.device)}
    logits = backbone.model(
        inputs_embeds=whole, attention_mask=mask.new_ones(whole.shape[:2]), use_cache=False, **needed
    ).logits.to(mask.device)
    return logits.gather(1, (before - first).unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


def arguments(backbone: Backbone) -> frozenset[str]:
    """The names of the arguments of the model's forward pass."""
    return frozenset(inspect.signature(backbone.model.forward).parameters)


def padded_left(embeds: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding of rows (R, S, d) and of their mask from the right to the left."""
    places = torch.arange(mask.shape[1], device=mask.device) - (mask.shape[1] - mask.sum(1, keepdim=True))
    index = places % mask.shape[1]
    moved = embeds.gather(1, index.unsqueeze(-1).expand_as(embeds))
    return moved, mask.gather(1, index)
