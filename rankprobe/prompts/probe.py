"""The paper's rank probe."""

from __future__ import annotations

from typing import Self, final

import torch
from torch import Tensor, nn

from rankprobe.errors import RankprobeError
from rankprobe.prompts.base import Method
from rankprobe.prompts.config import ProbeConfig
from rankprobe.prompts.init import positive_diagonal, random_factor


@final
class Probe(Method):
    """P = U · ReLU(diag σ) · V, with U (n, r), σ (r,), V (r, d) trained.

    Source: Xiao et al. (2023), equations 2 and 3, read literally: U and V are not kept orthonormal, so
    σ are not singular values of P, and the count of positive entries only bounds its rank from above.
    The diagonal is stored as a vector: off-diagonal entries of Σ do not exist.

    The ReLU is absorbing: where σ_i ≤ 0, the gradients of σ_i, of column i of U and of row i of V are
    zero. Only the optimizer's momentum and weight decay still move them.

    Differs: V has r = min(n, d) rows where an SVD has d; the further rows would meet only zeros.
    """

    def __init__(self, U: Tensor, sigma: Tensor, V: Tensor) -> None:
        super().__init__()
        self.U = nn.Parameter(U)
        self.sigma = nn.Parameter(sigma)
        self.V = nn.Parameter(V)

    @classmethod
    def create(cls, config: ProbeConfig, vocabulary: Tensor, generator: torch.Generator) -> Self:
        n, d, dtype = config.prompt_length, vocabulary.shape[1], vocabulary.dtype
        r = config.rank or min(n, d)
        if r > min(n, d):
            raise RankprobeError(
                f"rank is {r}, but P is {n} x {d} (prompt_length x width of the backbone); "
                f"give a rank of at most {min(n, d)}"
            )
        kind, scale = config.factor_init, config.factor_scale
        return cls(
            U=random_factor(generator, (n, r), kind, scale, dtype),
            sigma=positive_diagonal(generator, r, config.sigma_init, dtype),
            V=random_factor(generator, (r, d), kind, scale, dtype),
        )

    def forward(self) -> Tensor:
        return (self.U * torch.relu(self.sigma)) @ self.V
