"""Faster norms for T5, Llama and their kin, faster cross-attention for T5, and fused attention on a GPU.

The rest is transformers'.

Results equal those of the plain layers up to rounding. The plain layers are used where a weight is trained or
generation uses a cache.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
"""Names of the setting in the configs of transformers."""


def fast_layers(model: Any) -> None:
    """Use the layers below in a model that has the plain ones; other models are left as they are."""
    for module in model.modules():
        if _is_plain_norm(module):
            module.__class__ = frozen_norm(type(module))
    if model.config.model_type != "t5":
        return
    from transformers.models.t5.modeling_t5 import T5Attention, T5LayerCrossAttention

    cross_attention = short_cross_attention(T5Attention)
    for module in model.modules():
        if isinstance(module, T5LayerCrossAttention):
            module.EncDecAttention.__class__ = cross_attention


def fused_attention(model: Any) -> None:
    """Use torch's fused attention, which keeps no matrix of scores, in a decoder-only model on a GPU.

    A model with dropout in its attention is left as it is: the fused kernel draws its masks from torch's
    global generator, and the members of a cohort draw theirs from their own.
    """
    settings = model.config.get_text_config()
    has_dropout = any(getattr(settings, name, 0) for name in ATTENTION_DROPOUT)
    if getattr(model, "_supports_sdpa", False) and not has_dropout:
        model.set_attn_implementation("sdpa")


@torch.no_grad()
def _is_plain_norm(module: Any) -> bool:
    """Whether a module computes what `RootMeanSquare` does. Some norms of that kind add 1 to the weight."""
    names = {name for name, _ in module.named_parameters()}
    if names != {"weight"} or not hasattr(module, "variance_epsilon") or module.weight.dim() != 1:
        return False
    if len(inspect.signature(module.forward).parameters) > 1:  # such as the gated norms of Mamba2
        return False
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, len(module.weight), generator=generator).to(module.weight.device, module.weight.dtype)
    expected = module(x)
    found = RootMeanSquare.apply(x, module.weight, module.variance_epsilon)
    return float((found - expected).abs().max()) <= 0.02 * float(expected.abs().max())


@cache
def frozen_norm(plain: type) -> type:
    """A root-mean-square norm with a frozen weight: torch's kernel on CUDA, else `RootMeanSquare`.

    In float64 the plain norm is used: it rounds to float32 inside, and numerical tests compare with it.
    """

    class FrozenLayerNorm(plain):
        def forward(self, hidden_states: Tensor) -> Tensor:
            if self.weight.requires_grad or hidden_states.dtype == torch.float64:
                return super().forward(hidden_states)
            if hidden_states.is_cuda:
                return functional.rms_norm(
                    hidden_states, self.weight.shape, self.weight, self.variance_epsilon
                )
            return RootMeanSquare.apply(hidden_states, self.weight, self.variance_epsilon)

    return FrozenLayerNorm


class RootMeanSquare(torch.autograd.Function):
    """y = w · x / √(mean(x²) + ε) over the last axis, with a gradient for x only (Zhang & Sennrich 2019).

    The scale is computed in float32, as in T5. Autograd would save six intermediate results.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = (norm.square() / x.shape[-1] + epsilon).rsqrt()
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale if wide is x else wide.mul_(scale).to(x.dtype)).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        weighted = gradients[0] * weight
        along = torch.linalg.vecdot(weighted, x).unsqueeze(-1).to(scale.dtype)
        share = (along * scale.pow(3) / x.shape[-1]).to(x.dtype)
        return weighted.mul_(scale.to(x.dtype)).addcmul_(x, share, value=-1), None, None


def short_cross_attention(plain: type) -> type:
    """T5's cross-attention for answers with fewer tokens than a head has dimensions.

    The keys and values of the text, K = E·W_k and V = E·W_v, cost a sixth of all products if the answer has a
    few tokens. They are not needed: q·Kᵀ = (q·W_kᵀ)·Eᵀ and p·V = (p·E)·W_v.
    """

    class ShortCrossAttention(plain):
        def forward(
            self,
            hidden_states: Tensor,
            mask: Tensor | None = None,
            key_value_states: Tensor | None = None,
            position_bias: Tensor | None = None,
            past_key_values: Any = None,
            **kwargs: Any,
        ) -> tuple[Tensor, Tensor | None, Tensor]:
            rows, length, _ = hidden_states.shape
            heads, width = self.n_heads, self.key_value_proj_dim
            if key_value_states is None or past_key_values is not None or length >= width:
                return super().forward(
                    hidden_states, mask, key_value_states, position_bias, past_key_values, **kwargs
                )
            to_keys, to_values = (each.weight.view(heads, width, -1) for each in (self.k, self.v))
            queries = self.q(hidden_states).view(rows, length, heads, width)
            asked = torch.einsum("rlhk,hkd->rhld", queries, to_keys).flatten(1, 2)
            scores = (asked @ key_value_states.transpose(1, 2)).unflatten(1, (heads, length))
            for bias in (position_bias, mask):
                scores = scores if bias is None else scores + bias
            weights = functional.dropout(functional.softmax(scores, -1), self.dropout, self.training)
            found = (weights.flatten(1, 2) @ key_value_states).unflatten(1, (heads, length))
            values = torch.einsum("rhld,hkd->rlhk", found, to_values).flatten(2)
            return self.o(values), position_bias, weights

    return ShortCrossAttention
