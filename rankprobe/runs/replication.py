"""The outcome of `rankprobe replicate` in a run folder: a file of plain data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankprobe.runs.folder import Run
from rankprobe.runs.outcome import Outcome, read_outcome, save_outcome
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


class ReplicationFile(Outcome):
    """What `studies.replicate.Replication` found, and whether the pairs had disjoint rows."""

    disjoint: bool
    kinds: tuple[KindRow, ...] = Field(min_length=1)
    verdict: str


def save_replication(run: Run, outcome: ReplicationFile) -> None:
    """Write an outcome into a run folder; an earlier one is replaced."""
    save_outcome(run, REPLICATION, outcome)


def read_replication(run: Run) -> ReplicationFile | None:
    """The outcome in a run folder, or None if there is none.

    Raises:
        RankprobeError: the file is damaged.
    """
    return read_outcome(run, REPLICATION, ReplicationFile, "replicate")
