"""The outcome of `rankprobe replicate` in a run folder: a file of plain data."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from rankprobe.errors import RankprobeError
from rankprobe.runs.checksums import read_checked_json, write_checked_json
from rankprobe.runs.contract import check_unicode
from rankprobe.runs.folder import Run
from rankprobe.settings import Settings

REPLICATION = "replication.json"


class KindRow(Settings, extra="ignore"):
    """One kind of pairs: its `cv_rank` with the interval over pairs, and the means of the other readings."""

    kind: Literal["same start", "different starts", "shuffled labels"]
    pairs: int = Field(ge=1)
    cv_rank: float
    low: float
    high: float
    replicate_edge: float
    agreement: float = Field(ge=-1.001, le=1.001)


class ReplicationFile(Settings, extra="ignore"):
    """What `studies.replicate.Replication` found, and whether the pairs had disjoint rows."""

    disjoint: bool
    kinds: tuple[KindRow, ...] = Field(min_length=1)
    verdict: str

    @model_validator(mode="before")
    @classmethod
    def _check_unicode(cls, values: Any) -> Any:
        return check_unicode(values)


def save_replication(run: Run, outcome: ReplicationFile) -> None:
    """Write an outcome into a run folder; an earlier one is replaced."""
    write_checked_json(run.path / REPLICATION, json.loads(outcome.model_dump_json()))


def read_replication(run: Run) -> ReplicationFile | None:
    """The outcome in a run folder, or None if there is none.

    Raises:
        RankprobeError: the file is damaged.
    """
    path = run.path / REPLICATION
    if not path.exists():
        return None
    try:
        return ReplicationFile.parse(read_checked_json(path))
    except RankprobeError as error:
        name = "" if str(path) in str(error) else f"{path}: "
        raise RankprobeError(f"{name}{error}; run rankprobe replicate again") from None
