"""What a tracker is, and what it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rankprobe.runs import Run

PROJECT = "rankprobe"
"""The project (of MLflow: the experiment) of all runs, unless the user names another one."""


@dataclass(frozen=True)
class Point:
    """The numbers of one step.

    Attributes:
        step: optimizer updates so far.
        values: by name, such as `steps/n_positive` or `evals/validation/accuracy`; all are finite.
    """

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told about a run when it is opened.

    Attributes:
        id: the run id, under which the tracker keeps the run.
        path: the run folder.
        started: when the training was started, in ISO 8601. A run that was started over (`--overwrite`) has
            another time; one that was resumed has the same.
        config: settings by name, and what the run is of: data, model, versions.
    """

    id: str
    path: Path
    started: str
    config: Mapping[str, Any]

    @classmethod
    def of(cls, run: Run) -> TrackedRun:
        """Read it from a run folder.

        Raises:
            RankprobeError: the manifest is damaged.
        """
        manifest = run.manifest
        started = str(manifest.get("started", ""))
        facts = {
            "started": started,
            "data_label": manifest["data"]["label"],
            "model_label": manifest["backbone"]["label"],
            "random_weights": manifest["backbone"]["random_weights"],
            "trainable_parameters": manifest["trainable_parameters"],
            "git_commit": manifest.get("git_commit"),
        }
        return cls(run.id, run.path, started, {**manifest["config"], **facts})


class Tracker(ABC):
    """One run in one tracker. Each error of it is told in one line and ends the reporting of this run only.

    A plugin adds a tracker with an entry point `rankprobe.trackers` that names a final subclass.
    """

    requires: ClassVar[tuple[str, str]] = ("", "")
    """The module it imports, and the package that has it; empty: rankprobe has all it needs."""

    takes_report: ClassVar[bool] = True
    """Whether it has a place for an HTML file; if not, the report is not made for it."""

    last_step: int = -1
    """The last step that the tracker has; only later ones are sent."""

    place: str = ""
    """Where the run can be seen: a folder or an address."""

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None:
        """Open the run in the tracker: the one of this id if there is one, otherwise a new one."""

    @abstractmethod
    def log(self, points: Sequence[Point]) -> None:
        """Send points, in the order of their steps, all after `last_step`."""

    @abstractmethod
    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        """Send what is still to be sent, and close the run.

        Args:
            status: of the run: `finished`, `failed`, `interrupted`, `killed`, or `running` if the run goes on
                without being reported further.
            findings: what `rankprobe analyze` says about the run; empty unless it has finished.
            report: its HTML report, which is removed afterwards; None unless the run has finished, and for a
                tracker that does not take it.
        """
