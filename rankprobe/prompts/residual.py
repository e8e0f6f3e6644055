"""Residual prompt tuning."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from rankprobe.prompts.base import Method
from rankprobe.prompts.config import ResidualConfig
from rankprobe.prompts.init import InitSources, initial_prompt, random_factor


@final
class Residual(Method):
    """P = E + LayerNorm(W2 · ReLU(W1 · E + b1) + b2), row by row; E (n, d) and the MLP are trained.

    Source: Razdaibiedina et al. (2023), section 3, as Xiao et al. (2023), A.4, fix it: one MLP for all
    tokens, hidden width 400, layer norm. The biases are those of the released code; with them the counts are
    those of the paper's Tables 1 and 4. The MLP starts as `torch.nn.Linear` does: U(−1/√f, 1/√f) at fan-in f.
    """

    def __init__(self, E: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor, layer_norm: bool) -> None:
        """E (n, d); W1 (d, b), b1 (b,), W2 (b, d), b2 (d,), or each with a leading n: one MLP per token."""
        super().__init__()
        self.E = nn.Parameter(E)
        self.W1, self.b1 = nn.Parameter(W1), nn.Parameter(b1)
        self.W2, self.b2 = nn.Parameter(W2), nn.Parameter(b2)
        if layer_norm:
            self.gain, self.bias = nn.Parameter(torch.ones_like(b2)), nn.Parameter(torch.zeros_like(b2))
        self.layer_norm = layer_norm

    @classmethod
    def create(cls, config: ResidualConfig, sources: InitSources, generator: torch.Generator) -> Self:
        each = (config.prompt_length,) if config.separate else ()
        b, d = config.hidden, sources.width

        def uniform(*shape: int, fan_in: int) -> Tensor:
            return random_factor(generator, (*each, *shape), "uniform", fan_in**-0.5, sources.dtype)

        return cls(
            E=initial_prompt(config, sources, generator),
            W1=uniform(d, b, fan_in=d),
            b1=uniform(b, fan_in=d),
            W2=uniform(b, d, fan_in=b),
            b2=uniform(d, fan_in=b),
            layer_norm=config.layer_norm,
        )

    def forward(self) -> Float[Tensor, "n d"]:
        hidden = torch.relu(_rowwise(self.E, self.W1) + self.b1)
        added = _rowwise(hidden, self.W2) + self.b2
        if self.layer_norm:
            added = functional.layer_norm(added, added.shape[-1:]) * self.gain + self.bias
        return self.E + added


def _rowwise(rows: Tensor, weights: Tensor) -> Tensor:
    """Rows (n, i) times weights (i, j), or times a matrix of their own each, (n, i, j)."""
    return (rows.unsqueeze(1) @ weights).squeeze(1) if weights.dim() == 3 else rows @ weights
