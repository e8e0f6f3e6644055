"""Vanilla prompt tuning."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.prompts.base import Method
from rankprobe.prompts.config import VanillaConfig
from rankprobe.prompts.init import InitSources, initial_prompt


@final
class Vanilla(Method):
    """P (n, d) itself is trained, by default from rows sampled out of the vocabulary.

    Source: Lester et al. (2021), section 2; the initialisation that Xiao et al. (2023), A.4, adopt.
    """

    def __init__(self, P: Tensor) -> None:
        super().__init__()
        self.P = nn.Parameter(P)

    @classmethod
    def create(cls, config: VanillaConfig, sources: InitSources, generator: torch.Generator) -> Self:
        return cls(initial_prompt(config, sources, generator))

    def forward(self) -> Float[Tensor, "n d"]:
        # A copy, so that ∂L/∂P can be read off the output as for every other method.
        return self.P.clone()
