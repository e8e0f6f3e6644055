"""The method."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.prompts.base import Method
from rankprobe.prompts.init import InitSources, initial_prompt
from rankprobe_example.config import GainConfig


@final
class Gain(Method):
    """P = diag(g) · P0 with g (n,) trained and P0 (n, d) frozen; its rank is at most that of P0."""

    P0: Tensor

    def __init__(self, P0: Tensor, start: float) -> None:
        super().__init__()
        self.register_buffer("P0", P0)
        self.g = nn.Parameter(torch.full((len(P0), 1), start, dtype=P0.dtype))

    @classmethod
    def create(cls, config: GainConfig, sources: InitSources, generator: torch.Generator) -> Self:
        """Start from the prompt that `--init` describes, with every gain at `gain_start`."""
        return cls(initial_prompt(config, sources, generator), config.gain_start)

    def forward(self) -> Float[Tensor, "n d"]:
        return self.g * self.P0
