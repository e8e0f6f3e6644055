"""The outcome of `rankprobe taskrank` in a run folder: a file of plain data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankprobe.runs.folder import Run
from rankprobe.runs.outcome import Outcome, read_outcome, save_outcome
from rankprobe.settings import Settings

TASK_RANK = "taskrank.json"

KINDS = ("cut", "healed", "scratch")
"""Prompts of rank k: a trained prompt cut to k, the same trained on, and DPT from random factors."""


class TryRow(Settings, extra="ignore"):
    """A prompt of rank k that was tried; scores are in percent, None if its training failed."""

    k: int = Field(ge=1, lt=2**31)
    kind: Literal["cut", "healed", "scratch"]
    seed: int
    learning_rate: float | None
    start: int | None
    run_id: str | None
    selection: float | None
    report: float | None
    reached: bool
    chosen: bool


class DecisionRow(Settings, extra="ignore"):
    """The decision at one k, with the rank of the chosen prompt; margins are in percent points."""

    k: int = Field(ge=1, lt=2**31)
    chosen_rank: int = Field(ge=1, lt=2**31)
    score: float
    margin: float
    lower: float
    certified: bool
    tries: int
    reached: int
    rate_low: float
    rate_high: float


class FunctionalRow(Settings, extra="ignore"):
    """The functional rank of the vanilla prompt of one seed, as in its truncation file."""

    seed: int
    run_id: str
    functional_rank: float | None
    low: float | None
    high: float | None


class TaskRankFile(Outcome):
    """What `studies.task_rank.TaskRank` holds."""

    model: str
    data: str
    metric: str
    seeds: tuple[int, ...] = Field(min_length=1)
    n_rows: int
    n_questions: int
    max_k: int = Field(ge=1, lt=2**31)
    share: float
    confidence: float
    baseline: float
    vanilla: float
    gain: float
    gain_lower: float
    needed_rank: int = Field(ge=1, lt=2**31)
    functional: tuple[FunctionalRow, ...] = ()
    decisions: tuple[DecisionRow, ...]
    tries: tuple[TryRow, ...]

    @property
    def sentence(self) -> str:
        """The needed rank with what it was certified on, and the scores that it is about."""
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"
        return (
            f"The task needs at most rank {self.needed_rank} (certified on {self.n_rows} rows and {seeds}; "
            f"vanilla {self.vanilla:.1f}, baseline {self.baseline:.1f})."
        )


def save_task_rank(run: Run, outcome: TaskRankFile) -> None:
    """Write an outcome into a run folder; an earlier one is replaced."""
    save_outcome(run, TASK_RANK, outcome)


def read_task_rank(run: Run) -> TaskRankFile | None:
    """The outcome in a run folder, or None if there is none.

    Raises:
        RankprobeError: the file is damaged.
    """
    return read_outcome(run, TASK_RANK, TaskRankFile, "taskrank")
