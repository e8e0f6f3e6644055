"""How factors and prompts start. Plain functions of a generator: the same generator, the same numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def random_factor(
    generator: torch.Generator, shape: tuple[int, int], kind: str, scale: float, dtype: torch.dtype
) -> Tensor:
    """A factor with i.i.d. entries: N(0, scale²) for `normal`, U(−scale, scale) for `uniform`."""
    if kind == "normal":
        return torch.randn(shape, generator=generator, dtype=dtype) * scale
    return (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1) * scale


def positive_diagonal(generator: torch.Generator, size: int, kind: str, dtype: torch.dtype) -> Tensor:
    """Initial σ, (r,): 1 for `ones`, U(0, 1) for `uniform`, |N(0, 1)| for `half-normal`."""
    if kind == "uniform":
        return torch.rand(size, generator=generator, dtype=dtype)
    if kind == "half-normal":
        return torch.randn(size, generator=generator, dtype=dtype).abs()
    return torch.ones(size, dtype=dtype)


def sampled_vocabulary(generator: torch.Generator, embedding: Tensor, n: int) -> Tensor:
    """A prompt (n, d) of rows drawn from `embedding` (pieces, d); without replacement where n allows.

    Source: Lester et al. (2021), section 3.2, "sampled vocabulary".
    """
    pieces = len(embedding)
    rounds = -(-n // pieces)
    drawn = torch.cat([torch.randperm(pieces, generator=generator) for _ in range(rounds)])[:n]
    return embedding[drawn].clone()
