"""The paper's rank probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from rankprobe.errors import RankprobeError
from rankprobe.prompts.base import Method
from rankprobe.prompts.config import ProbeConfig
from rankprobe.prompts.init import (
    InitSources,
    initial_prompt,
    positive_diagonal,
    random_factor,
    truncated_svd,
)

GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "straight-through": lambda sigma: sigma + (torch.relu(sigma) - sigma).detach(),
    "leaky": functional.leaky_relu,
    "softplus": functional.softplus,
    "none": lambda sigma: sigma,
}
"""What stands between σ and P. Where σ ≤ 0, `relu` is a trap; `straight-through` has its values and lets
gradients of σ pass; `leaky` keeps a hundredth; `softplus` is smooth and never zero; `none` is identity."""


@final
class Probe(Method):
    """P = U · gate(diag σ) · V, with U (n, r), σ (r,), V (r, d) trained; the gate is a ReLU.

    Source: Xiao et al. (2023), equations 2 and 3, read literally: U and V are not kept orthonormal, so
    σ are not singular values of P, and the count of positive entries only bounds its rank from above.
    The diagonal is stored as a vector: off-diagonal entries of Σ do not exist.

    The ReLU is absorbing: where σ_i ≤ 0, the gradients of σ_i, of column i of U and of row i of V are
    zero. Only the optimizer's momentum and weight decay still move them. The other gates show what of a
    falling count is the ReLU's doing.

    `orthogonality` adds γ (‖UᵀU − I‖² + ‖VVᵀ − I‖²) to the loss, equation 4 of AdaLoRA (Zhang et al. 2023).
    It wants `factor_init="svd"`: from Gaussian factors, the penalty is all that is learned for a long time.

    With `orthonormal`, P = Q(U) · gate(diag σ) · Q(V), where Q has the orthonormal columns (of U) or rows
    (of V) that Gram-Schmidt makes of the factor. The absolute values of the gated σ are then the singular
    values of P, and with the ReLU the number of positive entries is its rank. Scales of U and V mean nothing
    to P; they only set how far an update turns Q. Factors from an SVD are scaled to entries of root mean
    square 1, as Gaussian factors have.

    Differs: V has r = min(n, d) rows where an SVD has d; the further rows would meet only zeros.
    """

    def __init__(
        self,
        U: Tensor,
        sigma: Tensor,
        V: Tensor,
        gate: str = "relu",
        orthogonality: float = 0.0,
        orthonormal: bool = False,
    ) -> None:
        super().__init__()
        self.U = nn.Parameter(U)
        self.sigma = nn.Parameter(sigma)
        self.V = nn.Parameter(V)
        self.gate = gate
        self.orthogonality = orthogonality
        self.orthonormal = orthonormal

    @classmethod
    def create(cls, config: ProbeConfig, sources: InitSources, generator: torch.Generator) -> Self:
        n, d, dtype = config.prompt_length, sources.width, sources.dtype
        r = config.rank or min(n, d)
        if r > min(n, d):
            raise RankprobeError(
                f"rank is {r}, but P is {n} x {d} (prompt_length x width of the backbone); "
                f"give a rank of at most {min(n, d)}"
            )
        kind, scale = config.factor_init, config.factor_scale
        if kind == "svd":
            U, s, V = truncated_svd(initial_prompt(config, sources, generator), r)
            sigma = ungated(s) if config.gate == "softplus" else s
            if config.orthonormal:
                U, V = U * n**0.5, V * d**0.5
        else:
            U = random_factor(generator, (n, r), kind, scale, dtype)
            sigma = positive_diagonal(generator, r, config.sigma_init, dtype)
            V = random_factor(generator, (r, d), kind, scale, dtype)
        return cls(U, sigma, V, config.gate, config.orthogonality, config.orthonormal)

    def forward(self) -> Float[Tensor, "n d"]:
        U, V = (orthonormal(self.U), orthonormal(self.V.T).T) if self.orthonormal else (self.U, self.V)
        return (U * GATES[self.gate](self.sigma)) @ V

    def diagonal(self) -> Float[Tensor, " r"]:
        return self.sigma

    def penalty(self) -> Tensor | None:
        if not self.orthogonality:
            return None
        eye = torch.eye(len(self.sigma), dtype=self.U.dtype, device=self.U.device)
        grams = torch.stack([self.U.T @ self.U, self.V @ self.V.T])
        return self.orthogonality * (grams - eye).square().sum()


def orthonormal(factor: Float[Tensor, "*stack n r"]) -> Float[Tensor, "*stack n r"]:
    """Orthonormal columns that span those of `factor` (n ≥ r): Q of its QR decomposition.

    Column k spans what column k of `factor` adds to those before it. R has a positive diagonal, as in the
    Gram-Schmidt process, so that Q is a continuous function of the factor; LAPACK's signs may jump.
    """
    Q, R = torch.linalg.qr(factor)
    negative = R.diagonal(dim1=-2, dim2=-1).unsqueeze(-2) < 0
    return torch.where(negative, -Q, Q)


def ungated(s: Tensor) -> Tensor:
    """The σ whose softplus is s; of s = 0, the σ of the least positive number."""
    s = s.clamp_min(torch.finfo(s.dtype).tiny)
    return s + torch.log(-torch.expm1(-s))
