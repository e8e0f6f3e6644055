"""The settings of each method. They are apart from the modules, so that reading a config needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from rankprobe.errors import RankprobeError
from rankprobe.hub import hub_place
from rankprobe.settings import Settings, file_name_splits


class MethodConfig(Settings):
    """The settings of all methods.

    Class attributes: `training` has the method's own defaults of training settings. `trains_backbone` is True
    if the backbone is not frozen; no other run can share it then. `prompt_is_all` is False if a trained
    method is more than its P; the factors of the best step are then saved with P. `method_class` names the
    class of a plugin's method, as `package.module:Class`.
    """

    training: ClassVar[Mapping[str, Any]] = {}
    trains_backbone: ClassVar[bool] = False
    prompt_is_all: ClassVar[bool] = True
    method_class: ClassVar[str] = ""

    name: Any
    prompt_length: PositiveInt = Field(
        default=100, description="Prompt tokens, n (paper 4.2; dept: 40, finetune: 0)"
    )


def _kept(place: str) -> str | None:
    """The absolute path of `place`, or None if nothing is there.

    A link is not followed: files next to the link may be read too.
    """
    path = Path(place)
    return str(path.parent.resolve() / path.name) if place and path.exists() else None


class StartConfig(MethodConfig):
    """The initial prompt.

    The initialisers of Lester et al. (2021), section 3.2: rows of the vocabulary, the words of the labels
    (then vocabulary to fill), a text (repeated or cut), uniform or normal noise, or a saved prompt.
    """

    init: Literal["vocabulary", "labels", "text", "uniform", "normal", "saved"] = Field(
        default="vocabulary", description="Initial prompt: vocabulary, labels, text, uniform, normal, saved"
    )
    init_text: str | None = Field(default=None, description="The text of --init text")
    init_from: str | None = Field(
        default=None, description="The prompt of --init saved: run folder, file, FILE:NAME or hub:ORG/NAME"
    )
    init_scale: PositiveFloat = Field(
        default=0.5, description="Half-width of --init uniform (Lester), standard deviation of normal (ours)"
    )
    init_vocab_size: PositiveInt = Field(
        default=5000, description="Most frequent pieces that initial rows are drawn from (Lester)"
    )

    @field_validator("init_from")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        if value is None or hub_place(value):
            return value
        if whole := _kept(value):
            return whole
        named = [f"{kept}:{name}" for file, name in file_name_splits(value) if (kept := _kept(file))]
        return named[0] if named else value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        for kind, name, value in (
            ("text", "init_text", self.init_text),
            ("saved", "init_from", self.init_from),
        ):
            if (self.init == kind) != (value is not None):
                raise RankprobeError(
                    f"init is '{self.init}' and {name} is {value!r}; --init {kind} and "
                    f"--{name.replace('_', '-')} go together"
                )
        return self


class FactorConfig(StartConfig):
    """The initial factors of a reparameterised prompt.

    The paper (4.2) says Gaussian and gives no scale; we take N(0, 1). The authors' released code draws
    U(−0.5, 0.5): `factor_init="uniform", factor_scale=0.5`. With `svd` the factors are those of the
    singular value decomposition of the prompt that `init` describes.
    """

    factor_init: Literal["normal", "uniform", "svd"] = Field(
        default="normal", description="Factors: normal (paper 4.2), uniform (authors' code), svd of --init"
    )
    factor_scale: PositiveFloat = Field(
        default=1.0, description="Their standard deviation, or half-width if uniform (ours)"
    )

    @model_validator(mode="after")
    def _start_is_used(self) -> Self:
        if self.factor_init == "svd" and self.factor_scale != 1:
            raise RankprobeError(
                f"factor_scale {self.factor_scale} would do nothing with factor_init 'svd'; leave one out"
            )
        if self.factor_init != "svd" and self.init != "vocabulary":
            raise RankprobeError(
                f"method '{self.name}' starts from random factors, so init '{self.init}' would do nothing; "
                "give --factor-init svd to decompose that prompt"
            )
        return self


class ProbeConfig(FactorConfig):
    """P = U · ReLU(diag σ) · V, the paper's probe.

    The paper (2.2) starts σ "with positive values" and says no more; we take ones, so that every entry
    starts at the same distance from zero. The other gates, the penalty and `orthonormal` are ours.
    """

    name: Literal["probe"] = "probe"
    rank: PositiveInt | None = Field(
        default=None, description="Diagonal entries, r; unset: min(n, d) (paper 2.2)"
    )
    sigma_init: Literal["ones", "uniform", "half-normal"] = Field(
        default="ones", description="Initial σ: ones (ours), uniform on (0, 1), or half-normal"
    )
    gate: Literal["relu", "straight-through", "leaky", "softplus", "none"] = Field(
        default="relu", description="On σ: relu (paper), straight-through, leaky, softplus, none"
    )
    orthogonality: NonNegativeFloat = Field(
        default=0.0, description="Weight of the penalty that keeps U and V orthonormal (AdaLoRA)"
    )
    orthonormal: bool = Field(
        default=False, description="Keep U and V orthonormal: the gated σ are singular values (paper: no)"
    )

    @model_validator(mode="after")
    def _penalty_is_used(self) -> Self:
        if self.orthonormal and self.orthogonality:
            raise RankprobeError(
                f"orthogonality {self.orthogonality} would do nothing to P with orthonormal factors; "
                "leave one out"
            )
        return self

    @model_validator(mode="after")
    def _sigma_is_used(self) -> Self:
        if self.factor_init == "svd" and self.sigma_init != "ones":
            raise RankprobeError(
                f"sigma_init '{self.sigma_init}' would do nothing with factor_init 'svd', which gives σ too; "
                "leave one out"
            )
        return self


class DPTConfig(FactorConfig):
    """P = A · B, decomposed prompt tuning.

    With `factor_init="svd"`, A · B starts as the best approximation of rank b of the prompt that `init`
    describes (truncated SVD, as in LAMP, Lan et al. 2025).
    """

    name: Literal["dpt"] = "dpt"
    bottleneck: PositiveInt = Field(default=10, description="Inner width of A · B, b (paper 4.2)")


class VanillaConfig(StartConfig):
    """P itself, prompt tuning of Lester et al. (2021)."""

    name: Literal["vanilla"] = "vanilla"


class ResidualConfig(StartConfig):
    """P = E + LayerNorm(W2 · ReLU(W1 · E)), residual prompt tuning."""

    name: Literal["residual"] = "residual"
    hidden: PositiveInt = Field(default=400, description="Inner width of the residual MLP (paper A.4)")
    separate: bool = Field(default=False, description="An MLP for each prompt token (paper A.4: shared)")
    layer_norm: bool = Field(default=True, description="Normalise what the MLP adds (paper A.4: yes)")


class ULPTConfig(MethodConfig):
    """P = (Z · R) ⊙ scale + shift, R random and frozen: ultra-low-dimensional."""

    name: Literal["ulpt"] = "ulpt"
    code: PositiveInt = Field(default=2, description="Numbers trained per prompt token (Wu et al.: 2 to 256)")


class SubspaceConfig(StartConfig):
    """P = P0 + reshape(R · θ), R random and frozen: a random subspace."""

    name: Literal["subspace"] = "subspace"
    dimension: PositiveInt = Field(default=1000, description="Numbers trained in all, θ (Li et al. 2018)")


class DePTConfig(StartConfig):
    """P, and A · B added to the text's embeddings: DePT of Shi and Lipani (2024)."""

    prompt_is_all: ClassVar[bool] = False

    name: Literal["dept"] = "dept"
    prompt_length: PositiveInt = Field(default=40, description="Prompt tokens, n (Shi, Lipani)")
    update_rank: PositiveInt = Field(default=45, description="Inner width of DePT's update, r (Shi, Lipani)")
    update_positions: PositiveInt = Field(
        default=256, description="Text positions DePT's update covers, s (Shi, Lipani: all of them)"
    )
    update_rate: PositiveFloat = Field(
        default=0.001, description="Its share of --learning-rate (ours; Shi and Lipani search)"
    )


class FinetuneConfig(MethodConfig):
    """Every weight of the backbone, and no P: full fine-tuning."""

    training: ClassVar[Mapping[str, Any]] = {"learning_rate": 3e-4}
    trains_backbone: ClassVar[bool] = True
    prompt_is_all: ClassVar[bool] = False

    name: Literal["finetune"] = "finetune"
    prompt_length: Literal[0] = 0  # pyright: ignore[reportIncompatibleVariableOverride]
