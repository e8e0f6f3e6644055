"""What every config section shares: strictness, readable errors, and one flat name per setting."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rankprobe.errors import RankprobeError, unknown
from rankprobe.lfs import check_lfs

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
"""Ways to fill the GPUs, by their names in transformers; what does not fit goes to memory, then to disk."""

LIMIT = re.compile(r"(cpu|\d+)=(\d+(?:\.\d+)?[KMG]i?B)")


class Settings(BaseModel):
    """A frozen config section that refuses unknown keys and names the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`; a problem is a `RankprobeError` of one line.

        Raises:
            RankprobeError: an unknown key (with the nearest valid one), or a value out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise explain(error, cls) from None


def explain(error: ValidationError, section: type[Settings]) -> RankprobeError:
    """The first problem of a pydantic error as one line: the setting, what came, what was expected."""
    problems = error.errors()
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    *sections, leaf = [str(part) for part in problem["loc"]] or [section.__name__]
    if problem["type"] == "extra_forbidden":
        return unknown("setting", leaf, _within(section, sections).model_fields)
    if problem["type"] == "value_error":
        return RankprobeError(str(problem.get("ctx", {}).get("error")))
    key = " ".join([*sections, leaf]) if leaf == "name" else leaf
    if problem["type"] == "missing":
        return RankprobeError(f"{key} is missing; {section.__name__} needs it")
    expected = problem["msg"].removeprefix("Input should be ").replace("a valid tuple", "a list")
    expected = re.sub(r"^a valid dictionary( or instance of \w+)?$", "a mapping", expected)
    return RankprobeError(f"{key} is {problem['input']!r}; expected {expected}")


def _within(section: type[Settings], path: list[str]) -> type[Settings]:
    """The config class that stands at `path` below `section`."""
    for name in path:
        below = section.model_fields[name].annotation
        section = below if isinstance(below, type) and issubclass(below, Settings) else section
    return section


def absolute(value: str) -> str:
    """`value` as an absolute path where it names something on disk, else unchanged.

    A config is saved with its run, and a resume may start in another folder.
    """
    return str(Path(value).resolve()) if Path(value).exists() else value


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file; `what` names the file in messages, as `config`.

    Raises:
        RankprobeError: it cannot be read, is a Git LFS pointer, or is no TOML.
    """
    check_lfs(path)
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise RankprobeError(f"{what} '{path}' cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # besides TOML's own: no UTF-8, or a number too long
        raise RankprobeError(f"{what} '{path}' is no TOML: {error}") from None


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config tree as one flat mapping, the names being those of flags and frame columns.

    A leaf keeps its own name; a leaf called `name` takes its section's.

    >>> flatten({"seed": 1, "task": {"name": "cb", "data": "hub"}})
    {'seed': 1, 'task': 'cb', 'data': 'hub'}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update({key if leaf == "name" else leaf: item for leaf, item in value.items()})
        else:
            flat[key] = value
    return flat


def placement(device_map: str) -> dict[str, Any]:
    """What `from_pretrained` is told of a device map: a strategy, or limits such as `0=20GiB,cpu=8GiB`.

    Limits are per GPU number and for `cpu`. A device without one is not used, and the rest goes to disk.

    Raises:
        RankprobeError: neither of them.
    """
    if device_map in STRATEGIES:
        return {"device_map": device_map}
    limits = [LIMIT.fullmatch(each.strip()) for each in device_map.split(",")]
    memory = {int(each[1]) if each[1] != "cpu" else "cpu": each[2] for each in limits if each}
    if len(memory) < len(limits):
        raise RankprobeError(
            f"device_map is '{device_map}'; expected {', '.join(STRATEGIES)}, or limits such as "
            "0=20GiB,cpu=8GiB (GPU number or cpu, each once)"
        )
    return {"device_map": "auto", "max_memory": memory}
