"""Decomposed prompt tuning."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.errors import RankprobeError
from rankprobe.prompts.base import Method
from rankprobe.prompts.config import DPTConfig
from rankprobe.prompts.init import InitSources, initial_prompt, random_factor, truncated_svd


@final
class DPT(Method):
    """P = A · B, with A (n, b) and B (b, d) trained: b · (n + d) parameters, rank at most b.

    Source: Xiao et al. (2023), equation 5. The factors start Gaussian as section 4.2 says; the
    authors' released code draws U(−0.5, 0.5) instead (`factor_init="uniform", factor_scale=0.5`).
    """

    def __init__(self, A: Tensor, B: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(B)

    @classmethod
    def create(cls, config: DPTConfig, sources: InitSources, generator: torch.Generator) -> Self:
        n, d, dtype = config.prompt_length, sources.width, sources.dtype
        b, kind, scale = config.bottleneck, config.factor_init, config.factor_scale
        if kind == "svd":
            if b > min(n, d):
                raise RankprobeError(
                    f"bottleneck is {b}, and P is {n} x {d} (prompt_length x width of the backbone), "
                    f"whose SVD has {min(n, d)} values; give a bottleneck of at most {min(n, d)}"
                )
            U, s, V = truncated_svd(initial_prompt(config, sources, generator), b)
            return cls(A=U * s.sqrt(), B=s.sqrt()[:, None] * V)
        return cls(
            A=random_factor(generator, (n, b), kind, scale, dtype),
            B=random_factor(generator, (b, d), kind, scale, dtype),
        )

    def forward(self) -> Float[Tensor, "n d"]:
        return self.A @ self.B
