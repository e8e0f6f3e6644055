"""Gradient checkpointing: the backward pass recomputes the activations of each block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from rankprobe.errors import RankprobeError


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """Inside this context the blocks of `model` save no activations; gradients are the same.

    transformers recomputes only in training mode, so the blocks are set to it, but not the dropout modules
    inside. Its own switch would also add a permanent hook to the embeddings.

    Raises:
        RankprobeError: the model has no blocks that can recompute.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks: list[Any] = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    if not blocks:
        raise RankprobeError(f"{type(model).__name__} cannot recompute; leave out --gradient-checkpointing")
    for block in blocks:
        block._gradient_checkpointing_func = partial(_recomputed, block)
        block.gradient_checkpointing = block.training = True
    try:
        yield
    finally:
        for block in blocks:
            block.gradient_checkpointing = block.training = False


def _recomputed(block: Any, function: Callable[..., Any], *inputs: Any) -> Any:
    """`checkpoint` of a block that computes in evaluation mode: some apply dropout if `training` is set."""

    def compute(*inputs: Any) -> Any:
        block.training = False
        try:
            return function(*inputs)
        finally:
            block.training = True

    return checkpoint(compute, *inputs, use_reentrant=False)
