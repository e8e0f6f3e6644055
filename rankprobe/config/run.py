"""The config of a run: flat settings, checked, with a run id that depends on what changes the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import Field, SerializeAsAny, model_validator
from pydantic.fields import FieldInfo

from rankprobe.config.defaults import default_data, names_its_files
from rankprobe.config.sections import BackboneConfig, LoggingConfig, TaskConfig, TrainingConfig
from rankprobe.errors import RankprobeError, unknown
from rankprobe.prompts import METHODS, MethodConfig, ProbeConfig, config_class
from rankprobe.settings import NEUTRAL, RENAMED_SETTINGS, Settings, default_dtype
from rankprobe.tasks import BUNDLED_SPLITS

SECTIONS: dict[str, type[Settings]] = {
    "task": TaskConfig,
    "backbone": BackboneConfig,
    "training": TrainingConfig,
    "logging": LoggingConfig,
}
"""The sections that all methods share. A fifth one, `method`, has a class per method."""


class RunConfig(TaskConfig, BackboneConfig, TrainingConfig, LoggingConfig):
    """One run: a method, trained on a task through a frozen backbone, with one seed.

    Settings are given flat; those of the method stand beside the others:

    >>> config = RunConfig.parse({"task": "rte", "method": "dpt", "bottleneck": 5})
    >>> config.task, config.method.name, config.flat()["bottleneck"]
    ('rte', 'dpt', 5)
    """

    seed: int = Field(default=42, ge=0, description="Of initial factors, batch order, dropout and twins")
    method: SerializeAsAny[MethodConfig] = ProbeConfig()

    @model_validator(mode="before")
    @classmethod
    def _method_section(cls, values: Any) -> Any:
        """Collect the settings of the method, and apply its own defaults of training settings."""
        if not isinstance(values, Mapping):
            return values
        _check_flat(values)
        method = values.get("method", "probe")
        given = method.model_dump() if isinstance(method, MethodConfig) else {"name": method}
        chosen = config_class(str(given["name"]))
        for name in values:
            owners = methods_with(name)
            if owners and name not in chosen.model_fields:
                raise RankprobeError(
                    f"method '{given['name']}' has no '{name}'; methods that have it: {', '.join(owners)}"
                )
            if name in RENAMED_SETTINGS:
                raise RankprobeError(f"setting '{name}' is named '{RENAMED_SETTINGS[name]}' now")
            if not owners and name not in all_settings():
                raise unknown("setting", name, all_settings())
        given |= {name: value for name, value in values.items() if methods_with(name)}
        rest = {name: value for name, value in values.items() if not methods_with(name)}
        return {**chosen.training, **rest, "method": chosen.parse(given)}

    @model_validator(mode="before")
    @classmethod
    def _default_data(cls, values: Any) -> Any:
        """Fill in `data` where it is unset, or where it names bundled rows that the user's own task lacks."""
        if not isinstance(values, Mapping):
            return values
        task, model = (str(values.get(name, cls.model_fields[name].default)) for name in ("task", "model"))
        data = values.get("data")
        if data is None or (names_its_files(task) and data in BUNDLED_SPLITS):
            data = default_data(task, model)
        return {**values, "data": data}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.method.trains_backbone and self.dtype == "bfloat16":
            raise RankprobeError(
                f"dtype is bfloat16, too coarse for the small steps of method '{self.method.name}'; "
                "use --dtype float32"
            )
        if self.device_map and self.method.trains_backbone:
            raise RankprobeError(
                f"method '{self.method.name}' trains the backbone, but --device-map needs a frozen one; "
                "leave it out"
            )
        if self.device_map and self.device != "auto":
            raise RankprobeError("--device and --device-map exclude each other; give one")
        if self.stop_after and not self.steps and self.stop_after > self.epochs:
            raise RankprobeError(
                f"--stop-after {self.stop_after} is more than --epochs {self.epochs}; give an earlier one"
            )
        if self.dropout and self.gradient_checkpointing:
            raise RankprobeError("--dropout and --gradient-checkpointing exclude each other; give one")
        return self

    def flat(self) -> dict[str, Any]:
        """Every setting by name, as saved in the manifest; `RunConfig.parse` is its inverse."""
        own = {"method": self.method.name, **self.method.model_dump(exclude={"name"})}
        return {
            name: own[name] if name in own else getattr(self, name)
            for name in all_settings()
            if name in own or not methods_with(name)
        }

    def section(self, section: type[Settings]) -> dict[str, Any]:
        """The settings of one section, by name."""
        return {name: getattr(self, name) for name in section.model_fields}

    @property
    def start_seed(self) -> int:
        """The seed of the initial factors."""
        return self.seed if self.init_seed is None else self.init_seed

    @property
    def run_id(self) -> str:
        """`<task>-<method>-<model>-s<seed>-<hash>`; the hash is that of `identity`."""
        digest = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()
        return f"{self.id_stem}{digest[:6]}"

    @property
    def id_stem(self) -> str:
        """The readable part of the run id."""
        model = self.model.rstrip("/").rpartition("/")[2].replace(":", "-")
        return f"{Path(self.task).stem}-{self.method.name}-{model}-s{self.seed}-"

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result and differ from their defaults, by name.

        Two configs with the same identity are the same run. A setting that is added later does not change the
        identity of earlier runs.
        """
        defaults = _defaults(self.task, self.model, self.method.name)
        own = {k: v for k, v in self.flat().items() if k not in NEUTRAL and v != defaults[k]}
        if not self.device_map and own.get("dtype") == self.default_dtype:
            own.pop("dtype", None)
        return own

    @property
    def default_dtype(self) -> str | None:
        """The dtype of the weights if none is given; None while the device is `auto`.

        A backbone that is trained is float32 on every device: bfloat16 rounds its small steps away.
        """
        return "float32" if self.method.trains_backbone else default_dtype(self.device)


@cache
def _defaults(task: str, model: str, method: str) -> dict[str, Any]:
    """The default of each setting; None for those that say what the run is about."""
    config = RunConfig.parse({"task": task, "model": model, "method": method})
    return {**config.flat(), "task": None, "model": None, "method": None, "seed": None}


def _check_settings(method: str, entry: tuple[type[MethodConfig], str]) -> None:
    """Check that a method of a plugin has no setting with the name of one that all runs have.

    Raises:
        RankprobeError: it has one.
    """
    taken = [name for name in entry[0].model_fields if name in RunConfig.model_fields and name != "method"]
    if taken:
        raise RankprobeError(f"all runs have a setting {taken[0]}; rename that of method '{method}'")


METHODS.require(_check_settings)


def _check_flat(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            leaf, given = next(iter(value.items()), ("…", "…"))
            flat = name if leaf == "name" else leaf
            raise RankprobeError(
                f"[{name}] is a table, and settings are flat; write {flat} = {given!r} without a table"
            )


def override(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file with those of the command line on top.

    If `settings` choose another method than `base`, settings of `base` that this method lacks are left out.
    """
    chosen = settings.get("method")
    if not chosen or base.get("method", chosen) == chosen or chosen not in METHODS:
        return {**base, **settings}
    kept = {k: v for k, v in base.items() if not methods_with(k) or k in free_settings(chosen)}
    return {**kept, **settings}


def free_settings(method: str) -> list[str]:
    """The settings of a method that can have more than one value."""
    fields = config_class(method).model_fields.items()
    return [name for name, field in fields if len(get_args(field.annotation)) != 1]


@cache
def methods_with(setting: str) -> list[str]:
    """The methods that have `setting` as one of their own; empty for settings that all runs have."""
    return [
        name for name, (config, _) in METHODS.items() if setting in config.model_fields and setting != "name"
    ]


@cache
def all_settings() -> dict[str, tuple[str, FieldInfo]]:
    """Every setting by name, with its section and its field; in the order of `--help`.

    Where methods differ in a default, the field is that of the first method.
    """
    found: dict[str, tuple[str, FieldInfo]] = {"seed": ("", RunConfig.model_fields["seed"])}
    for section in ("task", "backbone", "method", "training", "logging"):
        if section == "method":
            choice = FieldInfo(annotation=str, default="probe", description="See: rankprobe methods")
            found["method"] = section, choice
            fields = [item for config, _ in METHODS.values() for item in config.model_fields.items()]
        else:
            fields = list(SECTIONS[section].model_fields.items())
        for name, field in fields:
            if name != "name":
                found.setdefault(name, (section, field))
    return found
