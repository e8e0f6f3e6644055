"""The keys of manifests and truncation files that readers use, and the conversion of earlier versions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import Field, model_validator

from rankprobe.settings import RENAMED_SETTINGS, Settings
from rankprobe.twins import NO_TWIN, twin_prefix

ADDED_SETTINGS: dict[tuple[str, str], Any] = {
    ("", "batch_order"): "own",
    ("", "stop_after"): None,
    ("", "patience"): None,
    ("", "twin_draws"): 1,
    ("", "init_seed"): None,
    ("", "train_half"): "all",
    ("probe", "orthonormal"): False,
}
"""Settings that were added after the first version of manifests. The key is (method, name), with method ""
for a setting of all runs; the value describes what rankprobe did before the setting existed."""

RENAMED_COLUMNS = {"majority": "baseline", "report_majority": "report_baseline"}
"""Columns of earlier logs and manifests, and their present names."""

FORMER_TWIN = re.compile("^twin_(?=n_|P|dP|sigma$|lost$)")
"""The prefix of the columns and matrices of the only twin of earlier versions, which was the Gaussian one."""


def upgraded(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a manifest of any format to the present one: flat settings with their present names.

    In formats 1 and 2, `config` has one table per section; the key `name` of a section (`method`, `task`) is
    now a setting with the name of the section.
    """
    config, progress = manifest.get("config"), manifest.get("progress")
    if not isinstance(config, Mapping) or not isinstance(progress, Mapping):
        return dict(manifest)  # `Manifest` refuses it
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= {key if leaf == "name" else leaf: item for leaf, item in value.items()}
        else:
            flat[key] = value
    if manifest.get("format", 1) in (1, 2):
        flat = {RENAMED_SETTINGS.get(name, name): value for name, value in flat.items()}
    for (method, name), value in ADDED_SETTINGS.items():
        if method in ("", flat.get("method")):
            flat.setdefault(name, value)
    if isinstance(flat.get("twin"), bool):
        flat["twin"] = "gaussian" if flat["twin"] else NO_TWIN
    rows = {
        key: with_current_names(row)
        for key in ("progress", "readings")
        if isinstance(row := manifest.get(key), Mapping)
    }
    return {**manifest, "config": flat, **rows}


def with_current_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a log or manifest of any version with the present column names."""
    return {current_name(name): value for name, value in row.items()}


@lru_cache(maxsize=1024)
def current_name(name: str) -> str:
    """Return the present name of a column or matrix of a log of any version."""
    return RENAMED_COLUMNS.get(name, FORMER_TWIN.sub(twin_prefix("gaussian"), name))


class Config(Settings, extra="ignore"):
    seed: int
    task: str
    method: str
    prompt_length: int


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
    """The keys of a manifest that the frame `runs` is built from; a manifest has more keys."""

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
    def _check_unicode(cls, values: Any) -> Any:
        return check_unicode(values)


def check_unicode(values: Any) -> Any:
    """Refuse unpaired surrogates (from a path that is not UTF-8): a data frame cannot hold them.

    Raises:
        ValueError: a text has one.
    """
    json.dumps(values, ensure_ascii=False).encode()
    return values


class CutRow(Settings, extra="ignore"):
    """What was truncated. Files without `order` are of a version that kept the largest singular values."""

    run_id: str | None = None
    model: str | None = None
    data: str | None = None
    prompt: str | None = None
    matrix: str
    kept: str = "top"
    order: str = "singular"


class CurveRow(CutRow):
    """The score of a truncated prompt by one metric."""

    k: int = Field(ge=0, lt=2**31)
    split: str
    scoring: str | None = None
    metric: str
    value: float
    baseline: float
    n_examples: int | None = Field(default=None, ge=0, lt=2**31)
    n_invalid: int | None = Field(default=None, ge=0, lt=2**31)


class RankRow(CutRow):
    """A functional rank; earlier versions have no `defined`, `below` and `resampled`."""

    functional_rank: float | None
    below: float | None = None
    low: float | None = None
    high: float | None = None
    defined: float = 1.0
    resampled: list[float | None] | None = None


class ProfileRow(CutRow):
    """The least k for one share of the gain."""

    share: float
    k: float | None
    below: float | None
    low: float | None
    high: float | None


class TruncationFile(Settings, extra="ignore"):
    """The tables of a truncation file. Earlier versions have no profile."""

    curves: tuple[CurveRow, ...] = ()
    functional_rank: tuple[RankRow, ...] = ()
    profile: tuple[ProfileRow, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _check_unicode(cls, values: Any) -> Any:
        return check_unicode(values)


def truncation_tables(tables: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The tables of a truncation file of any version, with the present names.

    Keys that a row lacks stay absent, except `order`.

    Raises:
        RankprobeError: a key is missing or has a wrong type.
    """
    named = {
        name: [with_current_names(row) if isinstance(row, Mapping) else row for row in rows]
        if isinstance(rows, list)
        else rows
        for name, rows in tables.items()
    }
    parsed = TruncationFile.parse(named)
    return {
        name: [row.model_dump(exclude_unset=True) | {"order": row.order} for row in getattr(parsed, name)]
        for name in TruncationFile.model_fields
    }
