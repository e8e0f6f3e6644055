"""Training in a random subspace: the intrinsic dimension of a prompt."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from rankprobe.prompts.base import Method
from rankprobe.prompts.config import SubspaceConfig
from rankprobe.prompts.init import InitSources, initial_prompt


@final
class Subspace(Method):
    """P = P0 + reshape(R · θ): only θ (D,) is trained, from zeros, so training starts at P0.

    Source: Li et al. (2018), "Measuring the Intrinsic Dimension of Objective Landscapes", section 2, for the
    parameters of a prompt. R (n·d, D) is Gaussian with columns of length 1, drawn from the seed and frozen.
    The smallest D that scores 90 % of `vanilla` is the intrinsic dimension. R takes n · d · D numbers.
    """

    P0: Tensor
    R: Tensor

    def __init__(self, P0: Tensor, R: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros_like(R[0]))
        self.register_buffer("P0", P0)
        self.register_buffer("R", R)

    @classmethod
    def create(cls, config: SubspaceConfig, sources: InitSources, generator: torch.Generator) -> Self:
        P0 = initial_prompt(config, sources, generator)
        R = torch.randn(P0.numel(), config.dimension, generator=generator, dtype=P0.dtype)
        return cls(P0, functional.normalize(R, dim=0))

    def forward(self) -> Float[Tensor, "n d"]:
        return self.P0 + (self.R @ self.theta).view_as(self.P0)
