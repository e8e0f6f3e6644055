"""Ultra-low-dimensional prompt tuning."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.prompts.base import Method
from rankprobe.prompts.config import ULPTConfig
from rankprobe.prompts.init import InitSources


@final
class ULPT(Method):
    """P = (Z · R) ⊙ scale + shift, with Z (n, r), scale (d,), shift (d,) trained: n · r + 2d parameters.

    Source: Wu et al. (2025), "Ultra-Low-Dimensional Prompt Tuning via Random Projection". R (r, d)
    has entries N(0, 1/r), is drawn from the seed and never changes, so P has rank at most r + 1. Z starts
    N(0, 1), scale at ones and shift at zeros; the paper gives no start for Z.
    """

    R: Tensor

    def __init__(self, Z: Tensor, R: Tensor) -> None:
        super().__init__()
        self.Z = nn.Parameter(Z)
        self.scale = nn.Parameter(torch.ones_like(R[0]))
        self.shift = nn.Parameter(torch.zeros_like(R[0]))
        self.register_buffer("R", R)

    @classmethod
    def create(cls, config: ULPTConfig, sources: InitSources, generator: torch.Generator) -> Self:
        r, dtype = config.code, sources.dtype
        R = torch.randn(r, sources.width, generator=generator, dtype=dtype) / r**0.5
        return cls(Z=torch.randn(config.prompt_length, r, generator=generator, dtype=dtype), R=R)

    def forward(self) -> Float[Tensor, "n d"]:
        return (self.Z @ self.R) * self.scale + self.shift
