"""The config of a run: a tree of strict sections. Its leaves are the flags of the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from rankprobe.bundled import BACKBONES, FOLDER
from rankprobe.errors import RankprobeError, unknown
from rankprobe.hub import SECRET
from rankprobe.prompts import METHODS, MethodConfig, ProbeConfig, config_class
from rankprobe.settings import Settings, absolute, default_dtype, flatten, placement
from rankprobe.tasks import BUNDLED_SPLITS, PLACES, TASKS

TOKENIZER = "tokenizer.json"

NEUTRAL = ("device", "device_map", "gradient_checkpointing", "checkpoint_every")
"""Settings that change nothing in a finished run but rounding. A run's id does not depend on them."""


class TaskConfig(Settings):
    """What is trained on.

    `data` is `bundled` (our miniature of the task), `bundled-500` (with about 500 validation rows), `hub`
    (SuperGLUE itself, pinned), or a folder of the official release. Where it is unset, `RunConfig` fills in
    `default_data`; for a task of the user's own, which names its files, it stays unset.
    """

    name: str = Field(default="cb", description="See: rankprobe tasks; or a TOML file or folder of your own")
    data: str | None = Field(
        default=None,
        description="bundled, bundled-500, hub or a folder; unset: bundled for our own models, else hub",
    )
    form: Literal["plain", "authors"] = Field(
        default="plain",
        description="Source text: plain, or authors (task name first, COPA's question dropped)",
    )
    targets: str = Field(
        default="digits", description="Label texts: digits (authors' code), words (T5), or one each: yes,no"
    )
    answers: Literal["greedy", "rank", "both"] = Field(
        default="greedy", description="Found how: greedy (paper), rank (likeliest label), or both"
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
        description="Train on labels of other rows, or drawn at random: a null of every reading",
    )
    report_split: Literal["all", "half"] = Field(
        default="all",
        description="all (paper), or half: best is chosen on one half of dev, reported on the other",
    )

    @model_validator(mode="after")
    def _shots_to_balance(self) -> Self:
        if self.balanced and self.shots is None:
            raise RankprobeError("balanced says how shots are drawn, and there are none; give --shots too")
        return self

    @field_validator("name")
    @classmethod
    def _file(cls, value: str) -> str:
        return value if value in TASKS else absolute(value)

    @field_validator("data")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        return value if value is None or value in PLACES else absolute(value)


class BackboneConfig(Settings):
    """What is frozen.

    The authors' code leaves the backbone's dropout active while the prompt trains; the paper does not
    mention it. It is off here unless asked for: one source of gradient noise less, where noise is what a
    falling count must be told from, and a faster step.
    """

    model: str = Field(
        default="tiny", description="tiny, mini, hub id, folder, or random:tiny|t5-small|t5-base|t5-large"
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
        description="Spread a large backbone over GPUs, CPU and disk: auto, or limits as 0=20GiB,cpu=8GiB",
    )

    @field_validator("model", "tokenizer")
    @classmethod
    def _place(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and SECRET.search(value) and not Path(value).exists():  # it would be written into every run
            raise RankprobeError(
                f"{info.field_name} has a login or a token in it; give a hub id or a folder, and a "
                "token in HF_TOKEN"
            )
        return value if value is None or value in BACKBONES else absolute(value)

    @field_validator("device_map")
    @classmethod
    def _placement(cls, value: str | None) -> str | None:
        if value is not None:
            placement(value)
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

    Differs: rows of like length are batched together (less padding); `batching="random"` is the paper's.
    """

    learning_rate: PositiveFloat = Field(
        default=0.3, description="Peak rate of AdamW (paper 4.2); finetune: 3e-4"
    )
    weight_decay: NonNegativeFloat = Field(default=1e-5, description="Of AdamW (authors' code)")
    batch_size: PositiveInt = Field(default=16, description="Rows per step (authors' README)")
    epochs: PositiveInt = Field(default=100, description="Passes over the training rows (paper 4.2)")
    steps: PositiveInt | None = Field(default=None, description="Optimizer updates; overrides --epochs")
    warmup: NonNegativeFloat = Field(
        default=0.1, le=1, description="Share of steps with rising rate, then linear decay (authors' code)"
    )
    clip_norm: PositiveFloat = Field(default=1.0, description="Gradient clipping, per run (authors' code)")
    batching: Literal["length", "random"] = Field(
        default="length", description="Batches of like length, or random (authors' code)"
    )


class LoggingConfig(Settings):
    """What is written down, and when. None of it changes the training."""

    twin: bool = Field(default=True, description="Carry a noise twin, the null of every reading")
    rank_every: PositiveInt = Field(default=1, description="Steps between rank measures")
    spectrum_every: PositiveInt = Field(default=50, description="Steps between spectra of P, ΔP and σ")
    eval_every: PositiveInt | None = Field(
        default=None, description="Steps between dev evaluations; unset: an epoch (authors' code)"
    )
    checkpoint_every: PositiveInt | None = Field(
        default=None, description="Steps between checkpoints; unset: at each evaluation"
    )


SECTIONS: dict[str, type[Settings]] = {
    "task": TaskConfig,
    "backbone": BackboneConfig,
    "training": TrainingConfig,
    "logging": LoggingConfig,
}
"""The sections every method shares; `method` is the sixth part, with a class per method."""


class RunConfig(Settings):
    """One run: a method, trained on a task through a frozen backbone, with one seed."""

    seed: int = Field(default=42, ge=0, description="Of initial factors, batch order, dropout and noise twin")
    task: TaskConfig = TaskConfig()
    backbone: BackboneConfig = BackboneConfig()
    method: SerializeAsAny[MethodConfig] = ProbeConfig()
    training: TrainingConfig = TrainingConfig()
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="before")
    @classmethod
    def _method_class(cls, values: Any) -> Any:
        """Validate the method section with the class its name asks for."""
        method = values.get("method") if isinstance(values, Mapping) else None
        if isinstance(method, MethodConfig):
            method = method.model_dump()
        if not isinstance(method, Mapping):
            return values
        chosen = config_class(str(method.get("name", "probe")))
        training = values.get("training", {})
        if isinstance(training, TrainingConfig):
            training = training.model_dump(exclude_unset=True)
        for key in method:
            owners = methods_with(key)
            if key not in chosen.model_fields and owners:
                raise RankprobeError(
                    f"method '{chosen.model_fields['name'].default}' has no '{key}'; "
                    f"methods that have it: {', '.join(owners)}"
                )
        if isinstance(training, Mapping):
            training = {**chosen.training, **training}
        return {**values, "training": training, "method": chosen.parse(method)}

    @model_validator(mode="before")
    @classmethod
    def _data_of_task(cls, values: Any) -> Any:
        """Fill in `data` where it is unset; a task of the user's own has its files in its place."""
        if not isinstance(values, Mapping):
            return values
        task, backbone = (
            section.model_dump() if isinstance(section := values.get(name, {}), Settings) else section
            for name in ("task", "backbone")
        )
        if not isinstance(task, Mapping) or not isinstance(backbone, Mapping):
            return values
        name = str(task.get("name", TaskConfig.model_fields["name"].default))
        model = str(backbone.get("model", BackboneConfig.model_fields["model"].default))
        data = task.get("data")
        if data is None or (name not in TASKS and data in BUNDLED_SPLITS):
            data = default_data(name, model)
        return {**values, "task": {**task, "data": data}}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.method.trains_backbone and self.backbone.dtype == "bfloat16":
            raise RankprobeError(
                f"dtype is bfloat16, too coarse for the small steps of method '{self.method.name}'; "
                "use --dtype float32"
            )
        if self.backbone.device_map and self.method.trains_backbone:
            raise RankprobeError(
                f"method '{self.method.name}' trains the backbone, and --device-map spreads a frozen one; "
                "leave it out"
            )
        if self.backbone.device_map and self.backbone.device != "auto":
            raise RankprobeError("--device and --device-map exclude each other; give one")
        if self.backbone.dropout and self.backbone.gradient_checkpointing:
            raise RankprobeError("--dropout and --gradient-checkpointing exclude each other; give one")
        return self

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Self:
        """A config from flat settings, the names being those of the flags: `task`, `model`, and so on.

        Args:
            flat: settings by flat name; they override `base`.
            base: a config tree, as in a TOML file.

        Raises:
            RankprobeError: an unknown setting (the nearest one is named), one the method does not have,
                or a value out of range.
        """
        places = {name: (section, leaf) for name, section, leaf, _ in leaves()}
        tree: dict[str, Any] = {}
        for key, value in (base or {}).items():
            section, leaf = places.get(key, ("", ""))
            if section and not isinstance(value, Mapping):
                raise RankprobeError(
                    f"{key} = {value!r} belongs in the table [{section}], as {leaf} = {value!r}"
                )
            if key in ("method", *SECTIONS) and not isinstance(value, Mapping):
                raise RankprobeError(f"{key} is {value!r}; expected a table [{key}]")
            tree[key] = dict(value) if isinstance(value, Mapping) else value
        chosen = flat.get("method")
        method = tree.get("method", {})
        if chosen and isinstance(method, dict) and method.get("name", chosen) != chosen:
            # What the file says about another method applies as far as this one has it too.
            tree["method"] = {k: v for k, v in method.items() if k in settable(chosen)}
        for name, value in flat.items():
            if name not in places:
                raise unknown("setting", name, places)
            section, leaf = places[name]
            if section:
                tree.setdefault(section, {})[leaf] = value
            else:
                tree[leaf] = value
        return cls.parse(tree)

    def tree(self) -> dict[str, Any]:
        """The resolved config as plain data, as saved in the manifest."""
        return self.model_dump()

    @property
    def run_id(self) -> str:
        """`<task>-<method>-<model>-s<seed>-<hash>`; the hash is that of `identity`."""
        digest = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()
        return f"{self.id_stem}{digest[:6]}"

    @property
    def id_stem(self) -> str:
        """The readable part of the run's id."""
        model = self.backbone.model.rstrip("/").rpartition("/")[2].replace(":", "-")
        return f"{Path(self.task.name).stem}-{self.method.name}-{model}-s{self.seed}-"

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, by flat name, without those that have their default value.

        Two configs with the same identity are the same run. A setting that is added later leaves the identity
        of earlier runs as it was.
        """
        defaults = _defaults(self.task.name, self.backbone.model, self.method.name)
        own = {k: v for k, v in flatten(self.tree()).items() if k not in NEUTRAL and v != defaults[k]}
        if not self.backbone.device_map and own.get("dtype") == self.default_dtype:
            own.pop("dtype", None)
        return own

    @property
    def default_dtype(self) -> str | None:
        """The dtype of the weights where none is asked for; None as long as the device is `auto`.

        A backbone that is trained is float32 on every device: bfloat16 loses its small steps.
        """
        return "float32" if self.method.trains_backbone else default_dtype(self.backbone.device)


@cache
def _defaults(task: str, model: str, method: str) -> dict[str, Any]:
    """The value of each setting that is not given, by flat name; what a run is about has none."""
    config = RunConfig.from_flat({"task": task, "model": model, "method": method})
    return {**flatten(config.tree()), "task": None, "model": None, "method": None, "seed": None}


def default_data(task: str, model: str) -> str | None:
    """Where rows come from by default: a pretrained model is not to be measured on our miniature unasked.

    `bundled` for our own backbones, for folders with our tokenizer and for random weights; `hub` for others;
    None for a task of the user's own.
    """
    if task not in TASKS:
        return None
    own = model in BACKBONES or model.startswith("random:") or _has_our_tokenizer(Path(model))
    return "bundled" if own else "hub"


def _has_our_tokenizer(folder: Path) -> bool:
    """Whether a model folder has the tokenizer of our backbones, as those of `experiments/pretrain` do."""
    theirs, ours = folder / TOKENIZER, FOLDER / BACKBONES[0] / TOKENIZER
    try:
        return theirs.stat().st_size == ours.stat().st_size and theirs.read_bytes() == ours.read_bytes()
    except OSError:
        return False


def settable(method: str) -> list[str]:
    """The settings of a method that can have more than one value."""
    fields = config_class(method).model_fields.items()
    return [name for name, field in fields if len(get_args(field.annotation)) != 1]


def methods_with(setting: str) -> list[str]:
    """The methods whose config has `setting`."""
    return [name for name, (config, _) in METHODS.items() if setting in config.model_fields]


def leaves() -> Iterator[tuple[str, str, str, FieldInfo]]:
    """Every setting as (flat name, section, leaf, field); the method's are the union over methods.

    Flat names are unique: a leaf called `name` takes its section's name.
    """
    yield "seed", "", "seed", RunConfig.model_fields["seed"]
    for section, config in SECTIONS.items():
        for leaf, field in config.model_fields.items():
            yield section if leaf == "name" else leaf, section, leaf, field
        if section == "backbone":
            yield from _method_leaves()


def _method_leaves() -> Iterator[tuple[str, str, str, FieldInfo]]:
    # Where methods differ in a default, the flag shows that of the first.
    fields: dict[str, FieldInfo] = {}
    for config, _ in METHODS.values():
        for leaf, field in config.model_fields.items():
            fields.setdefault(leaf, field)
    yield (
        "method",
        "method",
        "name",
        FieldInfo(annotation=str, default="probe", description="See: rankprobe methods"),
    )
    for leaf, field in fields.items():
        if leaf != "name":
            yield leaf, "method", leaf, field
