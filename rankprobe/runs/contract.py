"""What every manifest says, whoever wrote it: readers look no further before this holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from rankprobe.settings import Settings

ADDED_SETTINGS: dict[tuple[str, str], Any] = {}
"""Settings added after the first manifests were written, by section (`method.<name>` for a method's own) and
name, each with the value that a manifest without it means: what rankprobe did before the setting existed."""


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a manifest, with the settings that did not exist when it was written."""
    full = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for (section, name), value in ADDED_SETTINGS.items():
        place, _, method = section.partition(".")
        table = full.setdefault(place, {})
        if not method or table.get("name") == method:
            table.setdefault(name, value)
    return full


class Named(Settings, extra="ignore"):
    name: str


class Method(Named):
    prompt_length: int


class Config(Settings, extra="ignore"):
    seed: int
    task: Named
    method: Method


class Data(Settings, extra="ignore"):
    label: str
    source: str
    n_train: int
    n_validation: int


class Backbone(Settings, extra="ignore"):
    label: str
    random_weights: bool


class Progress(Settings, extra="ignore"):
    step: int
    total_steps: int


class Manifest(Settings, extra="ignore"):
    """The part of a manifest that the frame `runs` is made of; there is more in one."""

    status: str
    config: Config
    data: Data
    backbone: Backbone
    trainable_parameters: int
    progress: Progress
    timings: dict[str, Any]
    readings: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _unicode(cls, values: Any) -> Any:
        """Refuse half a surrogate pair, as of a path that is no UTF-8: no frame can hold it."""
        json.dumps(values, ensure_ascii=False).encode()
        return values
