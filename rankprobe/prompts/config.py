"""What each method can be told. Kept apart from the modules, so that reading a config needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from rankprobe.settings import Settings


class MethodConfig(Settings):
    """What every method has: a name and a prompt length."""

    name: str
    prompt_length: PositiveInt = Field(100, description="tokens of the soft prompt, n (paper 4.2)")


class FactorConfig(MethodConfig):
    """How the random factors of a reparameterised prompt start."""

    factor_init: Literal["normal", "uniform"] = Field(
        "normal",
        description="distribution of the factors (paper 4.2: Gaussian; the authors' code: uniform)",
    )
    factor_scale: PositiveFloat = Field(
        1.0,
        description="standard deviation (normal) or half-width (uniform) of the factors; the paper "
        "gives none, the authors' code has 0.5 with uniform",
    )


class ProbeConfig(FactorConfig):
    """The paper's probe, P = U · ReLU(diag σ) · V (equation 3)."""

    name: Literal["probe"] = "probe"
    rank: PositiveInt | None = Field(
        None, description="diagonal entries, r; unset: min(n, d), as in the paper"
    )
    sigma_init: Literal["ones", "uniform", "half-normal"] = Field(
        "ones",
        description="initial σ: ones, U(0, 1) or |N(0, 1)|; the paper says only 'positive values'",
    )


class DPTConfig(FactorConfig):
    """Decomposed prompt tuning, P = A · B (equation 5)."""

    name: Literal["dpt"] = "dpt"
    bottleneck: PositiveInt = Field(10, description="inner width of A · B, b (paper 4.2)")


class VanillaConfig(MethodConfig):
    """Prompt tuning of Lester et al. (2021): P itself is trained."""

    name: Literal["vanilla"] = "vanilla"
    vocabulary: PositiveInt = Field(
        5000, description="initial rows are drawn from this many most frequent pieces (Lester et al.)"
    )
