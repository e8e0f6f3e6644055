"""Decomposed prompt tuning of Shi and Lipani: a short prompt and a low-rank update of the text."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.prompts.base import Method
from rankprobe.prompts.config import DePTConfig
from rankprobe.prompts.init import InitSources, initial_prompt


@final
class DePT(Method):
    """P (n, d) in front of the text, and A · B added to its embeddings, position by position.

    Source: Shi and Lipani (2024), "DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning",
    section 2. A (s, r) covers the first s text positions; B (r, d). A starts as `torch.nn.Linear` does, B at
    zeros, so training starts at the prompt alone. The update has a learning rate of its own, in proportion to
    the prompt's. What is measured is the rank of P; the update has rank at most r. The noise twin's gradient
    reaches P only, so its update stays at zero.
    """

    def __init__(self, P: Tensor, A: Tensor, B: Tensor, update_rate: float) -> None:
        super().__init__()
        self.P = nn.Parameter(P)
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(B)
        self.update_rate = update_rate

    @classmethod
    def create(cls, config: DePTConfig, sources: InitSources, generator: torch.Generator) -> Self:
        P = initial_prompt(config, sources, generator)
        s, r = config.update_positions, config.update_rank
        A = (torch.rand(s, r, generator=generator, dtype=P.dtype) * 2 - 1) / r**0.5
        return cls(P, A, torch.zeros(r, sources.width, dtype=P.dtype), config.update_rate)

    def forward(self) -> Float[Tensor, "n d"]:
        # A copy, so that ∂L/∂P can be read off the output as for every other method.
        return self.P.clone()

    def text_shift(self) -> Float[Tensor, "s d"]:
        return self.A @ self.B

    def rates(self) -> dict[str, float]:
        return {"A": self.update_rate, "B": self.update_rate}
