"""Greedy decoding, step by step, for every model that takes `inputs_embeds`.

transformers' `generate` does not take `inputs_embeds` for some models, and needs padding on the left, which
other models do not support. Here a model decodes in the fastest way that gives its teacher-forced logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.causal import (
    answer_logits,
    arguments,
    cache_of,
    last_only,
    padded_left,
    places,
    whole_mask,
)
from rankprobe.backbone.splice import ModelInput

IGNORED = -100
"""Label id of padding, as in Hugging Face models."""

Step = Callable[[Tensor], Tensor]
"""From the tokens (R, t) chosen so far to the logits (R, V) of the next token."""


def decoder_inputs(backbone: Backbone, labels: Tensor) -> Tensor:
    """The decoder input (R, L) of an encoder-decoder for `labels` (R, L): the labels shifted to the right.

    The model's own method is used if it has one; otherwise the start token comes first.
    """
    model = backbone.model
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return model.prepare_decoder_input_ids_from_labels(labels=labels)
    start = torch.full_like(labels[:, :1], model.generation_config.decoder_start_token_id)
    return torch.cat([start, labels[:, :-1].clamp(min=0)], dim=1)  # padding may be any token


@torch.no_grad()
def greedy(backbone: Backbone, inputs: ModelInput, limit: int) -> list[list[int]]:
    """The most likely token at each step, up to the end-of-sequence token, which is left out.

    Args:
        backbone: the model.
        inputs: prompts and texts.
        limit: the most tokens of an answer.
    """
    answers: list[list[int]] = [[] for _ in range(len(inputs.mask))]
    for rows in row_groups(backbone, inputs.mask):
        step = next_logits(backbone, rows_of(inputs, rows))
        for row, answer in zip(rows.tolist(), _answers(backbone, step, len(rows), limit), strict=True):
            answers[row] = answer
    return answers


def rows_of(inputs: ModelInput, rows: Tensor) -> ModelInput:
    """These rows, without columns that are padding in all of them."""
    longest = int(inputs.mask[rows].sum(1).max())
    states = inputs.states and [(keys[rows], values[rows]) for keys, values in inputs.states]
    return ModelInput(inputs.embeds[rows, :longest], inputs.mask[rows, :longest], states)


def row_groups(backbone: Backbone, mask: Tensor) -> list[Tensor]:
    """Groups of row indices that are decoded together."""
    if backbone.decoding != "grouped":
        return [torch.arange(len(mask), device=mask.device)]
    lengths = mask.sum(1)
    return [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]


def _answers(backbone: Backbone, step: Step, rows: int, limit: int) -> list[list[int]]:
    end = backbone.tokenizer.eos_token_id
    tokens = torch.zeros(rows, 0, dtype=torch.long, device=backbone.device)
    ended = torch.zeros(rows, dtype=torch.bool, device=backbone.device)
    while tokens.shape[1] < limit and not ended.all():
        chosen = step(tokens).argmax(-1).to(tokens.device)
        tokens, ended = torch.cat([tokens, chosen[:, None]], dim=1), ended | (chosen == end)
    return [row[: row.index(end)] if end in row else row for row in tokens.tolist()]


def next_logits(backbone: Backbone, inputs: ModelInput) -> Step:
    """A function that continues prompts and texts, by `backbone.decoding`."""
    if not backbone.causal:
        return _encoder_decoder(backbone, inputs, cached=backbone.decoding != "uncached")
    if backbone.decoding == "uncached":
        return _causal_uncached(backbone, inputs)
    return _causal(backbone, inputs)


def _encoder_decoder(backbone: Backbone, inputs: ModelInput, *, cached: bool) -> Step:
    """Encode the text once, then decode."""
    embeds, mask, _ = inputs
    model, names, kept = backbone.model, arguments(backbone), dict[str, Any]()
    encoded = model.get_encoder()(inputs_embeds=embeds, attention_mask=mask)
    end = torch.full_like(mask[:, :1], backbone.tokenizer.eos_token_id)
    start = decoder_inputs(backbone, end)

    def step(tokens: Tensor) -> Tensor:
        read = torch.cat([start, tokens], dim=1)
        output = model(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=read[:, -1:] if cached else read,
            use_cache=cached,
            **kept,
        )
        kept.update(_carried(output, names) if cached else {})
        return output.logits[:, -1]

    return step


def _causal(backbone: Backbone, inputs: ModelInput) -> Step:
    """Decode with the cache of the model: keys and values, or the state of a recurrent model."""
    names, kept = arguments(backbone), dict[str, Any]()
    embeds, mask = padded_left(inputs.embeds, inputs.mask)
    read = whole_mask(inputs.states, mask)
    if inputs.states:
        kept["past_key_values"] = cache_of(inputs.states)

    def step(tokens: Tensor) -> Tensor:
        new = backbone.embed(tokens[:, -1:]) if tokens.shape[1] else embeds
        known = places(backbone, torch.cat([read, torch.ones_like(tokens)], dim=1), new.shape[1])
        if backbone.decoding == "grouped":  # no padding; some recurrent models accept no mask for one token
            known.pop("attention_mask", None)
        last = last_only(backbone, new)
        output = backbone.model(inputs_embeds=new, use_cache=True, **known, **last, **kept)
        kept.update(_carried(output, names))
        return output.logits[:, -1]

    return step


def _causal_uncached(backbone: Backbone, inputs: ModelInput) -> Step:
    """Decode without a cache; padding stays on the right, where it has no effect."""

    def step(tokens: Tensor) -> Tensor:
        # No logits depend on the last token, so any id will do.
        answers = torch.cat([tokens, torch.zeros_like(inputs.mask[:, :1])], dim=1)
        return answer_logits(backbone, inputs, answers)[:, -1]

    return step


def _carried(output: Any, names: frozenset[str]) -> dict[str, Any]:
    """The cache or state for the next step: every output that is also an argument."""
    return {name: output[name] for name in output if name in names}
