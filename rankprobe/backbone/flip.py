"""The gradient of a prompt with a random sign for each text, from the same backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Flip(NamedTuple):
    """A copy of a prompt that collects Σ εᵢ gᵢ, where gᵢ is the gradient of the prompt before text i.

    Attributes:
        P: equal to the prompt, (n, d); its gradient becomes the sum. The loss does not depend on it.
        signs: εᵢ, one per text.
    """

    P: Float[Tensor, "n d"]
    signs: Float[Tensor, " rows"]


def repeated(
    tensors: Tensor, rows: Sequence[int], copies: Tensor | None, signs: Sequence[Tensor | None]
) -> Tensor:
    """Repeat what belongs to each of K members for its texts.

    Args:
        tensors: (K, …).
        rows: K counts with sum R.
        copies: (F, …), those of the F members with signs, in order; None if there are none.
        signs: for each member the signs of its texts, or None.

    Returns:
        (R, …).
    """
    parts, place = [], 0
    for tensor, count, sign in zip(tensors.split(1), rows, signs, strict=True):
        if copies is None or sign is None:
            parts.append(tensor.expand(count, *tensor.shape[1:]))
        else:
            parts.append(_Repeat.apply(tensor, copies[place : place + 1], sign.to(tensor.dtype)))
            place += 1
    return torch.cat(parts)


class _Repeat(torch.autograd.Function):
    """Repeats a tensor (1, …) for each sign. `copy` gets the gradient that has the signs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, copy: Tensor, signs: Tensor) -> Tensor:
        ctx.save_for_backward(signs)
        return tensor.expand(len(signs), *tensor.shape[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (signs,) = ctx.saved_tensors
        return grad.sum(0, keepdim=True), torch.einsum("r,r...->...", signs, grad).unsqueeze(0), None
