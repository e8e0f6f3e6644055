"""What each method can be told. Kept apart from the modules, so that reading a config needs no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from rankprobe.settings import Settings


class MethodConfig(Settings):
    """What every method has: a name and a prompt length."""

    name: Any
    prompt_length: PositiveInt = Field(default=100, description="Prompt tokens, n (paper 4.2)")


class FactorConfig(MethodConfig):
    """How the random factors of a reparameterised prompt start.

    The paper (4.2) says Gaussian and gives no scale; we take N(0, 1). The authors' released code draws
    U(−0.5, 0.5): `factor_init="uniform", factor_scale=0.5`.
    """

    factor_init: Literal["normal", "uniform"] = Field(
        default="normal", description="Factors: normal (paper 4.2) or uniform (authors' code)"
    )
    factor_scale: PositiveFloat = Field(
        default=1.0, description="Their standard deviation, or half-width if uniform (ours)"
    )


class ProbeConfig(FactorConfig):
    """The paper's probe: P = U · ReLU(diag σ) · V.

    The paper (2.2) starts σ "with positive values" and says no more; we take ones, so that every entry
    starts at the same distance from zero.
    """

    name: Literal["probe"] = "probe"
    rank: PositiveInt | None = Field(
        default=None, description="Diagonal entries, r; unset: min(n, d) (paper 2.2)"
    )
    sigma_init: Literal["ones", "uniform", "half-normal"] = Field(
        default="ones", description="Initial σ: ones (ours), uniform on (0, 1), or half-normal"
    )


class DPTConfig(FactorConfig):
    """Decomposed prompt tuning: P = A · B."""

    name: Literal["dpt"] = "dpt"
    bottleneck: PositiveInt = Field(default=10, description="Inner width of A · B, b (paper 4.2)")


class VanillaConfig(MethodConfig):
    """Prompt tuning of Lester et al. (2021): P itself."""

    name: Literal["vanilla"] = "vanilla"
    vocabulary: PositiveInt = Field(
        default=5000, description="Most frequent pieces the first rows are drawn from (Lester)"
    )
