"""Dropout in a cohort: each member draws the masks that it would draw alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class MemberDropout(TorchFunctionMode):
    """Inside this context, `dropout` draws each member's mask from that member's generator.

    The rows of the batch are ordered by member. A mask for the whole batch from one generator would make the
    noise of a member depend on the others. Here it depends only on the member's generator and padded length,
    so a member trains in a cohort exactly as it does alone.

    Args:
        generators: K generators on the backbone's device.
        rows: K row counts.
        lengths: for the padded length of each sequence axis in the batch, the K lengths that the
            members would have alone: `{T_batch: [T_0, T_1, …]}`.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        rows: Sequence[int],
        lengths: dict[int, Sequence[int]],
    ) -> None:
        super().__init__()
        self.generators = generators
        self.rows = rows
        self.lengths = lengths

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not functional.dropout:
            return func(*args, **(kwargs or {}))
        return self._dropout(*args, **(kwargs or {}))

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        mask = torch.cat([self._mask(input, k, p) for k in range(len(self.rows))])
        return input.mul_(mask) if inplace else input * mask

    def _mask(self, input: Tensor, member: int, p: float) -> Tensor:
        """The mask of a member over its rows of (R, T, d) states or (R, heads, T, T) attention weights."""
        full = [self.rows[member], *input.shape[1:]]
        sequence_axes = (2, 3) if input.dim() == 4 else (1,)
        own = list(full)
        for axis in sequence_axes:
            own[axis] = self.lengths.get(full[axis], [full[axis]] * len(self.rows))[member]
        generator = self.generators[member]
        mask = torch.empty(own, dtype=input.dtype, device=generator.device)
        mask.bernoulli_(1 - p, generator=generator).div_(1 - p)
        if own == full:
            return mask.to(input.device)
        # Positions beyond the member's own length are padding: masked, so their value never matters.
        padded = input.new_ones(full)
        padded[tuple(slice(0, size) for size in own)] = mask
        return padded
