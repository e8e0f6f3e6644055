"""The settings of a run, in four sections: task, backbone, training, logging.

A section only groups settings in `--help` and in the code. Everywhere else settings are flat: `RunConfig`
inherits all sections, so a setting has one name in TOML, flag, keyword, manifest and column.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rankprobe.bundled import BACKBONES
from rankprobe.errors import SECRET, RankprobeError
from rankprobe.settings import Settings, absolute
from rankprobe.tasks import PLACES, TASKS
from rankprobe.twins import ALL_TWINS, MIN_DRAWS, NO_TWIN, REPEATED, TWINS, parse_twins


class TaskConfig(Settings):
    """What is trained on.

    `data` is `bundled` (our miniature of the task), `bundled-500` (with about 500 validation rows), `hub`
    (SuperGLUE, at a pinned revision), or a folder with the official release. `RunConfig` fills in
    `default_data` where it is unset. A task of the user's own names its files, so `data` stays unset.
    """

    task: str = Field(default="cb", description="See: rankprobe tasks; or a TOML file or folder of your own")
    data: str | None = Field(
        default=None,
        description="bundled, bundled-500, hub or a folder; unset: bundled for our own models, else hub",
    )
    template: Literal["plain", "authors", "chat"] = Field(
        default="plain",
        description="Source text: plain, authors (task name first, COPA's question dropped), or chat (plain, "
        "in the model's chat template)",
    )
    targets: str = Field(
        default="digits", description="Label texts: digits (authors' code), words (T5), or one each: yes,no"
    )
    scoring: Literal["greedy", "rank", "both"] = Field(
        default="greedy", description="Answers by greedy decoding (paper), rank (likeliest label), or both"
    )
    max_source_length: PositiveInt = Field(
        default=256, description="Source tokens without the prompt (authors' code)"
    )
    shots: PositiveInt | None = Field(
        default=None, description="Training rows, drawn by seed (paper 5.2: 8, 16, 32); unset: all"
    )
    balanced: bool = Field(default=False, description="Draw shots evenly over the labels (paper: not)")
    control: Literal["none", "shuffle-labels", "random-labels"] = Field(
        default="none",
        description="Train on labels of other rows, or on random labels: a null of every reading",
    )
    train_half: Literal["all", "first", "second"] = Field(
        default="all", description="Train on one of two random halves of the rows, or on all"
    )
    report_split: Literal["all", "half"] = Field(
        default="all",
        description="all (paper), or half: choose best on one half of dev, report on the other",
    )

    @model_validator(mode="after")
    def _balanced_needs_shots(self) -> Self:
        if self.balanced and self.shots is None:
            raise RankprobeError("--balanced needs --shots")
        return self

    @field_validator("task")
    @classmethod
    def _absolute_task(cls, value: str) -> str:
        return value if value in TASKS else absolute(value)

    @field_validator("data")
    @classmethod
    def _absolute_data(cls, value: str | None) -> str | None:
        return value if value is None or value in PLACES else absolute(value)


class BackboneConfig(Settings):
    """What is frozen.

    Differs: the authors' code leaves the backbone's dropout on while the prompt trains; the paper does not
    mention it. It is off here by default. This removes one source of gradient noise, which matters because
    noise also makes the count of positive entries fall, and a step is faster.
    """

    model: str = Field(
        default="tiny",
        description="tiny, mini, smollm2, hub id, folder, .gguf file, random:tiny|t5-small|t5-base|t5-large",
    )
    tokenizer: str | None = Field(default=None, description="Hub id or folder; unset: the model's own")
    dtype: Literal["float32", "bfloat16", "float64"] | None = Field(
        default=None,
        description="Frozen weights: float32, bfloat16 or float64; unset: bfloat16 on CUDA, else float32",
    )
    dropout: bool = Field(default=False, description="Backbone dropout in training (authors' code: on)")
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations in the backward pass: less memory, slower"
    )
    model_seed: int = Field(default=0, ge=0, lt=2**64, description="Seed of the weights of random:…")
    device: str = Field(
        default="auto", description="auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 or mps"
    )
    device_map: str | None = Field(
        default=None,
        description="Split a large backbone over GPUs, CPU and disk: auto, or limits as 0=20GiB,cpu=8GiB",
    )

    @field_validator("model", "tokenizer")
    @classmethod
    def _absolute_model(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and SECRET.search(value) and not Path(value).exists():  # manifests would contain it
            raise RankprobeError(
                f"{info.field_name} contains a login or a token; give a hub id or a folder, and set "
                "the token as HF_TOKEN"
            )
        return value if value is None or value in BACKBONES else absolute(value)

    @field_validator("device_map")
    @classmethod
    def _parsable_device_map(cls, value: str | None) -> str | None:
        if value is not None:
            from rankprobe.backbone.device_map import parse_device_map  # which imports torch

            parse_device_map(value)
        return value

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_float16(cls, value: object) -> object:
        if value in ("float16", "fp16", "half"):
            raise ValueError(
                f"dtype is {value!r}: float16 overflows in T5's feed-forward layers and gives NaN; use "
                "bfloat16 or float32"
            )
        return {"bf16": "bfloat16", "fp32": "float32"}.get(str(value), value)


class TrainingConfig(Settings):
    """How it is trained: the paper's section 4.2, and the authors' code where the paper is silent.

    Differs: rows of similar length share a batch (less padding); `batching="random"` is the authors' way.
    """

    learning_rate: PositiveFloat = Field(
        default=0.3, description="Peak rate of AdamW (paper 4.2); finetune: 3e-4"
    )
    weight_decay: NonNegativeFloat = Field(default=1e-5, description="Of AdamW (authors' code)")
    batch_size: PositiveInt = Field(default=16, description="Rows per step (authors' README)")
    epochs: PositiveInt = Field(default=100, description="Passes over the training rows (paper 4.2)")
    steps: PositiveInt | None = Field(default=None, description="Optimizer updates; overrides --epochs")
    stop_after: PositiveInt | None = Field(
        default=None, description="Epoch after which training stops; the learning rate follows --epochs"
    )
    patience: PositiveInt | None = Field(
        default=None, description="Evaluations without a better dev score after which training stops"
    )
    warmup_ratio: NonNegativeFloat = Field(
        default=0.1, le=1, description="Share of steps with rising rate, then linear decay (authors' code)"
    )
    clip_norm: PositiveFloat = Field(default=1.0, description="Gradient clipping, per run (authors' code)")
    batching: Literal["length", "random"] = Field(
        default="length", description="Batches of similar length, or random (authors' code)"
    )
    init_seed: int | None = Field(
        default=None, ge=0, description="Seed of the initial factors; unset: that of the run"
    )
    batch_order: Literal["shared", "own"] = Field(
        default="shared",
        description="Order of batch lengths: the same for all seeds, so that a cohort pads less, or by seed",
    )


class LoggingConfig(Settings):
    """What is logged, and when. None of it changes the training."""

    twin: str = Field(
        default=ALL_TWINS,
        description="Noise twins, the nulls of each reading: gaussian,haar,flip-example,flip-block or none",
    )
    twin_draws: PositiveInt = Field(
        default=1,
        description="Gaussian and Haar twins of a run, of each kind: 1, or 20 and more to place one seed "
        "among them",
    )
    rank_every: PositiveInt = Field(default=1, description="Steps between rank measures")
    spectrum_every: PositiveInt = Field(default=50, description="Steps between spectra of P, ΔP and σ")
    eval_every: PositiveInt | None = Field(
        default=None, description="Steps between dev evaluations; unset: an epoch (authors' code)"
    )
    checkpoint_every: PositiveInt | None = Field(
        default=None, description="Steps between checkpoints; unset: at each evaluation"
    )

    @field_validator("twin", mode="before")
    @classmethod
    def _known_twins(cls, value: object) -> str:
        if not isinstance(value, str):
            raise RankprobeError(f"twin is {value!r}; give 'none', or some of {', '.join(TWINS)}")
        return ",".join(parse_twins(value)) or NO_TWIN

    @model_validator(mode="after")
    def _enough_draws(self) -> Self:
        if 1 < self.twin_draws < MIN_DRAWS:
            raise RankprobeError(
                f"twin_draws is {self.twin_draws}; expected 1, or at least {MIN_DRAWS}, as a place among "
                "fewer twins says little"
            )
        if self.twin_draws > 1 and not {*parse_twins(self.twin)} & {*REPEATED}:
            raise RankprobeError(
                f"twin_draws is {self.twin_draws}, but twin is '{self.twin}'; draws need a twin of "
                f"{' or '.join(REPEATED)}"
            )
        return self
