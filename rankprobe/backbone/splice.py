"""Joins soft prompts to the input of a model. No other module does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.causal import PromptStates, prompt_states
from rankprobe.backbone.flip import Flip, repeated


class PromptInput(NamedTuple):
    """The part of a member in the input: a prompt, and a shift of the embeddings of the text.

    `flip` collects a second gradient of the prompt, with a sign for each text.
    """

    P: Float[Tensor, "n d"]
    shift: Float[Tensor, "s d"] | None = None
    flip: Flip | None = None


class ModelInput(NamedTuple):
    """What the model reads for R rows: prompts and texts.

    Attributes:
        embeds: embeddings (R, S, d) in the dtype of the backbone, padded on the right.
        mask: (R, S), 1 on real tokens.
        states: keys and values of the prompt if the model has read it already; `embeds` then holds the text
            only.
    """

    embeds: Float[Tensor, "R S d"]
    mask: Int[Tensor, "R S"]
    states: PromptStates | None = None


def splice(
    backbone: Backbone,
    prompt_inputs: Sequence[PromptInput],
    rows: Sequence[int],
    input_ids: Int[Tensor, "R T"],
    attention_mask: Int[Tensor, "R T"],
) -> ModelInput:
    """Prepend the prompt of each member to its texts (T5: on the encoder side).

    The shift of a member is added to the embeddings of the first s positions of its texts. The model counts
    positions from the first prompt token. With `backbone.prompt_once`, the model reads each prompt here, once
    for all its texts; the prompt's embeddings are then not repeated before each text.

    Args:
        backbone: the frozen model.
        prompt_inputs: K prompts of the same length n, which may be 0.
        rows: K counts with sum R; the first `rows[0]` texts belong to member 0, and so on.
        input_ids: padded on the right.
        attention_mask: 1 on real tokens.
    """
    text = backbone.embed(input_ids)
    prompts = [each.P.to(text.device, text.dtype) for each in prompt_inputs]
    if any(each.shift is not None for each in prompt_inputs):
        parts = zip(prompt_inputs, text.split(list(rows)), strict=True)
        text = torch.cat([_shifted(part, each.shift) for each, part in parts])
    flips = [each.flip for each in prompt_inputs]
    copies = [flip.P.to(text.device, text.dtype) for flip in flips if flip]
    signs = [flip and flip.signs.to(text.device) for flip in flips]
    if backbone.prompt_once and len(prompts[0]):
        return ModelInput(text, attention_mask, prompt_states(backbone, prompts, rows, copies, signs))
    soft = repeated(torch.stack(prompts), rows, torch.stack(copies) if copies else None, signs)
    ones = attention_mask.new_ones(soft.shape[:2])
    return ModelInput(torch.cat([soft, text], dim=1), torch.cat([ones, attention_mask], dim=1))


def _shifted(text: Tensor, shift: Tensor | None) -> Tensor:
    """Text embeddings (R, T, d) with `shift` (s, d) added to the first s positions."""
    if shift is None:
        return text
    covered = min(len(shift), text.shape[1])
    head = text[:, :covered] + shift[:covered].to(text.device, text.dtype)
    return torch.cat([head, text[:, covered:]], dim=1)
