"""The base class of all config sections, with readable validation errors, and helpers that read settings."""

from __future__ import annotations

import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rankprobe.errors import RankprobeError, unknown
from rankprobe.lfs import check_lfs

NEUTRAL = ("device", "device_map", "gradient_checkpointing", "checkpoint_every")
"""Settings that change a finished run by rounding at most. A run's id does not depend on them."""

HARMLESS = (*NEUTRAL, "rank_every", "spectrum_every", "twin_draws")
"""Settings that change no result of a run: the neutral ones, how often a result is logged, and with how many
twins beside the logged ones."""


RENAMED_SETTINGS = {
    "form": "template",
    "answers": "scoring",
    "warmup": "warmup_ratio",
    "vocabulary": "init_vocab_size",
}
"""Settings that had another name in earlier versions and in manifests of format 1 and 2."""


class Settings(BaseModel):
    """A frozen config section. It refuses unknown keys and suggests the nearest valid one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`.

        Raises:
            RankprobeError: a key is unknown (the message suggests the nearest valid one), or a value is out
                of range. The message is one line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise explain(error, cls) from None


def explain(error: ValidationError, section: type[Settings]) -> RankprobeError:
    """Describe the first problem of a pydantic error in one line: setting, value, expected value."""
    problems = error.errors()
    problem = next((item for item in problems if item["type"] == "extra_forbidden"), problems[0])
    *sections, leaf = [str(part) for part in problem["loc"]] or [section.__name__]
    if problem["type"] == "extra_forbidden":
        return unknown("setting", leaf, _subsection(section, sections).model_fields)
    if problem["type"] == "value_error":
        return RankprobeError(str(problem.get("ctx", {}).get("error")))
    key = " ".join([*sections, leaf]) if leaf == "name" else leaf
    if problem["type"] == "missing":
        return RankprobeError(f"the key '{key}' is missing")
    expected = problem["msg"].removeprefix("Input should be ").replace("a valid tuple", "a list")
    expected = re.sub(r"^a valid dictionary( or instance of \w+)?$", "a mapping", expected)
    return RankprobeError(f"{key} is {problem['input']!r}; expected {expected}")


def _subsection(section: type[Settings], path: list[str]) -> type[Settings]:
    """Return the config class at `path` inside `section`."""
    for name in path:
        inner = section.model_fields[name].annotation
        section = inner if isinstance(inner, type) and issubclass(inner, Settings) else section
    return section


def absolute(value: str) -> str:
    """Return `value` as an absolute path if it exists on disk, else unchanged.

    A config is saved with its run, and the run may be resumed from another working directory.
    """
    return str(Path(value).resolve()) if Path(value).exists() else value


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the content of a TOML file. `what` says in messages which file it is, for example `config`.

    Raises:
        RankprobeError: the file cannot be read, is a Git LFS pointer, or is not TOML.
    """
    check_lfs(path)
    try:
        raw = path.read_bytes()
        if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise ValueError("it is UTF-16; save it as UTF-8")
        return tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        raise RankprobeError(f"{what} '{path}' cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # TOML errors, not UTF-8, or a number with too many digits
        raise RankprobeError(f"{what} '{path}' is not TOML: {error}") from None


def default_dtype(device: str) -> str | None:
    """Return the default dtype of frozen weights on a device; None for `auto`, which is resolved later.

    A GPU multiplies bfloat16 several times faster. Prompts and optimizer state are always float32.
    """
    if device == "auto":
        return None
    return "bfloat16" if device.startswith("cuda") else "float32"


def file_name_splits(text: str) -> list[tuple[str, str]]:
    """Return all ways to split `FILE:NAME` into a file and a name, shortest name first.

    Both parts may contain colons.
    """
    parts = text.split(":")
    splits = [(":".join(parts[:i]), ":".join(parts[i:])) for i in range(len(parts) - 1, 0, -1)]
    return [(file, name) for file, name in splits if file]
