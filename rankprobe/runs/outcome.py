"""Outcomes that commands write into a run folder: files of plain data, with a checksum."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import model_validator

from rankprobe.errors import RankprobeError
from rankprobe.runs.checksums import read_checked_json, write_checked_json
from rankprobe.runs.contract import check_unicode
from rankprobe.runs.folder import Run
from rankprobe.settings import Settings


class Outcome(Settings, extra="ignore"):
    """The content of such a file; keys of later versions are ignored."""

    @model_validator(mode="before")
    @classmethod
    def _check_unicode(cls, values: Any) -> Any:
        return check_unicode(values)


Kind = TypeVar("Kind", bound=Outcome)


def save_outcome(run: Run, file: str, outcome: Outcome) -> None:
    """Write an outcome into a run folder; an earlier one is replaced."""
    write_checked_json(run.path / file, json.loads(outcome.model_dump_json()))


def read_outcome(run: Run, file: str, kind: type[Kind], command: str) -> Kind | None:
    """The outcome in a run folder, or None if there is none.

    Args:
        run: whose folder is read.
        file: name of the file.
        kind: class of the outcome.
        command: the rankprobe command that writes it, for the message.

    Raises:
        RankprobeError: the file is damaged.
    """
    path = run.path / file
    if not path.exists():
        return None
    try:
        return kind.parse(read_checked_json(path))
    except RankprobeError as error:
        name = "" if str(path) in str(error) else f"{path}: "
        raise RankprobeError(f"{name}{error}; run rankprobe {command} again") from None
