"""Decoder-only models: prompt, text and answer form one sequence.

What such a model computes for the prompt does not depend on the text that follows. So most models can read a
prompt once, and all texts can attend to its keys and values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.flip import repeated

if TYPE_CHECKING:
    from rankprobe.backbone.splice import ModelInput

PromptStates = Sequence[tuple[Tensor, Tensor]]
"""For each layer, the keys and values (R, heads, n, width) of the prompt of each row."""


def prompt_states(
    backbone: Backbone,
    prompts: Sequence[Float[Tensor, "n d"]],
    rows: Sequence[int],
    copies: Sequence[Float[Tensor, "n d"]] = (),
    signs: Sequence[Tensor | None] | None = None,
) -> PromptStates:
    """Let the model read K prompts, and repeat the states of each for its rows; differentiable.

    Copies that collect a gradient with signs are read too: that costs as much as another prompt, not as much
    as reading the prompt before each text.

    Args:
        backbone: a decoder-only model with `prompt_once`.
        prompts: K, in its dtype.
        rows: K counts with sum R.
        copies: as in `flip.repeated`, in its dtype.
        signs: likewise.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class Kept(DynamicLayer):
        """Keeps what a layer computes. A block may be computed again in the backward pass: nothing grows."""

        def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values
            return keys, values

    states: Any = DynamicCache()
    states.layer_class_to_replicate = Kept
    read = torch.stack([*prompts, *copies])
    backbone.model.base_model(inputs_embeds=read, past_key_values=states, use_cache=True)  # no logits
    if not states.layers:
        raise RuntimeError(f"{type(backbone.model).__name__} kept no keys and values of the prompt")

    def for_rows(tensor: Tensor) -> Tensor:
        own, copied = tensor[: len(prompts)], tensor[len(prompts) :]
        return repeated(own, rows, copied if copies else None, signs or [None] * len(prompts))

    return [(for_rows(layer.keys), for_rows(layer.values)) for layer in states.layers]


def cache_of(states: PromptStates) -> Any:
    """A cache that starts with these keys and values, and to which the model adds those of later tokens."""
    from transformers import DynamicCache

    return DynamicCache(states)


def fixed_cache(states: PromptStates) -> Any:
    """A cache of these keys and values, to which nothing is added: a block may be computed again."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class Fixed(DynamicLayer):
        def __init__(self, keys: Tensor, values: Tensor) -> None:
            super().__init__()
            self.lazy_initialization(keys, values)
            self.keys, self.values = self.read = keys, values

        def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            return torch.cat([self.read[0], keys], dim=-2), torch.cat([self.read[1], values], dim=-2)

    cache: Any = DynamicCache()
    cache.layers = [Fixed(keys, values) for keys, values in states]
    return cache


def answer_logits(backbone: Backbone, inputs: ModelInput, answers: Int[Tensor, "R L"]) -> Tensor:
    """Logits (R, L, V) of each answer position, with teacher forcing.

    Each answer follows its own text directly; padding comes last. Padding is not masked, because no token
    before it attends to it: with a sliding window, a masked row may attend to nothing, which gives NaN in
    float64.

    Args:
        backbone: the decoder-only model.
        inputs: prompts and texts.
        answers: token ids, any id on padding.
    """
    embeds, mask, states = inputs
    n_read = states[0][0].shape[2] if states else 0
    places = mask.sum(1, keepdim=True) + torch.arange(answers.shape[1], device=mask.device)
    room = embeds.new_zeros(answers.shape[0], answers.shape[1], embeds.shape[2])
    index = places.unsqueeze(-1).expand_as(room)
    whole = torch.cat([embeds, room], dim=1).scatter(1, index, backbone.embed(answers))
    before, first, needed = places - 1, 0, dict[str, Any]()
    if "logits_to_keep" in arguments(backbone):
        first, last = torch.stack(before.aminmax()).tolist()
        needed = {"logits_to_keep": torch.arange(first, last + 1, device=mask.device)}
    if states:
        needed["past_key_values"] = fixed_cache(states)
    everything = mask.new_ones(len(mask), n_read + whole.shape[1])
    logits = backbone.model(
        inputs_embeds=whole, attention_mask=everything, use_cache=False, **needed
    ).logits.to(mask.device)
    return logits.gather(1, (before - first).unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


def read_text(backbone: Backbone, inputs: ModelInput) -> Callable[[Tensor], Tensor]:
    """Read prompts and texts once; `backbone` can reuse its states (`prompt_once`).

    Returns:
        A function from answers (R, L), any id on padding, to the logits (R, L, V) of their positions. It may
        be called with several answers to the same texts.
    """
    embeds, mask = padded_left(inputs.embeds, inputs.mask)
    read, cache = whole_mask(inputs.states, mask), cache_of(inputs.states or [])
    first = backbone.model(
        inputs_embeds=embeds,
        use_cache=True,
        past_key_values=cache,
        **places(backbone, read, mask.shape[1]),
        **last_only(backbone, embeds),
    ).logits[:, -1:]
    states = [(layer.keys, layer.values) for layer in cache.layers]

    def logits(answers: Tensor) -> Tensor:
        known = answers[:, :-1]
        if not known.shape[1]:
            return first
        whole = torch.cat([read, torch.ones_like(known)], dim=1)
        later = backbone.model(
            inputs_embeds=backbone.embed(known),
            use_cache=True,
            past_key_values=fixed_cache(states),
            **places(backbone, whole, known.shape[1]),
        ).logits
        return torch.cat([first, later], dim=1)

    return logits


def whole_mask(states: PromptStates | None, mask: Tensor) -> Tensor:
    """The mask of the prompt, whose tokens are all real, and of what follows it, (R, S)."""
    return torch.cat([mask.new_ones(len(mask), states[0][0].shape[2]), mask], dim=1) if states else mask


def places(backbone: Backbone, whole: Tensor, width: int) -> dict[str, Tensor]:
    """The mask of a sequence (R, S) and the positions of its last `width` tokens, if the model takes them.

    Positions count real tokens, so padding on the left does not shift them.
    """
    known = {"attention_mask": whole, "position_ids": (whole.cumsum(1) - 1).clamp(min=0)[:, -width:]}
    return {name: tensor for name, tensor in known.items() if name in arguments(backbone)}


def last_only(backbone: Backbone, embeds: Tensor) -> dict[str, Tensor]:
    """The argument that limits logits to the last token, if the model has it.

    An index, not a number: for a slice of many rows, torch would copy the output layer's weight for each row.
    """
    last = torch.tensor([embeds.shape[1] - 1], device=embeds.device)
    return {"logits_to_keep": last} if "logits_to_keep" in arguments(backbone) else {}


def arguments(backbone: Backbone) -> frozenset[str]:
    """The names of the arguments of the model's forward pass."""
    return frozenset(inspect.signature(backbone.model.forward).parameters)


def padded_left(embeds: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding of rows (R, S, d) and of their mask from the right to the left."""
    places = torch.arange(mask.shape[1], device=mask.device) - (mask.shape[1] - mask.sum(1, keepdim=True))
    index = places % mask.shape[1]
    moved = embeds.gather(1, index.unsqueeze(-1).expand_as(embeds))
    return moved, mask.gather(1, index)
