"""Which runs are trained in one pass, and from which step: as they were begun, so that sums stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.runs import CHECKPOINTS, Run
from rankprobe.runs.checkpoint import last_checkpoint, whole_checkpoints
from rankprobe.training.config import RunConfig


@dataclass(frozen=True)
class Work:
    """A run to be trained: a new one, or one that goes on.

    Args:
        config: its settings.
        path: its folder.
        cohort: the ids of the runs it was begun with; empty for a new run.
        checkpoints: steps that have a whole checkpoint, the last one first.
        newest: the step of its newest checkpoint, whole or not.
        start: the checkpoint from which it goes on; None: from the beginning.
    """

    config: RunConfig
    path: Path
    cohort: tuple[str, ...] = ()
    checkpoints: tuple[int, ...] = ()
    newest: int | None = None
    start: int | None = None

    @property
    def is_new(self) -> bool:
        return not self.cohort

    @property
    def last(self) -> int | None:
        """The step of its last whole checkpoint."""
        return self.checkpoints[0] if self.checkpoints else None

    def check_untouched(self) -> None:
        """Make sure, once its folder is locked, that nobody went on with it since it was looked at.

        Raises:
            RankprobeError: somebody did.
        """
        written = last_checkpoint(self.path / CHECKPOINTS) != self.newest
        if written or Run(self.path).manifest["status"] == "finished":
            raise RankprobeError(f"{self.path} was written by another process just now; try again")


def work_left(config: RunConfig, path: Path) -> Work:
    """What is left of a run that stopped.

    Raises:
        RankprobeError: it has checkpoints, and none of them is whole.
    """
    cohort, folder = Run(path).manifest.get("cohort", []), path / CHECKPOINTS
    return Work(
        config,
        path,
        cohort=tuple(cohort if path.name in cohort else [path.name]),
        checkpoints=tuple(whole_checkpoints(folder)),
        newest=last_checkpoint(folder),
    )


def passes(works: Sequence[Work]) -> list[list[Work]]:
    """Works in groups that are trained together, each with its `start` filled in.

    A kill may fall between the checkpoints of two members, or the last checkpoint of one be damaged: the
    others then go one checkpoint back to it.
    """
    groups: dict[tuple[Path, tuple[str, ...], int | None], list[Work]] = {}
    for work in works:
        mates = [each for each in works if _begun_together(work, each)]
        names = next((each.cohort for each in mates if each.cohort), ())
        started = replace(work, start=_start(work, mates))
        groups.setdefault((work.path.parent, names, started.start), []).append(started)
    # In the order in which they were begun: it decides which rows of a batch are whose.
    return [
        sorted(group, key=lambda work: names.index(work.path.name)) if names else group
        for (_, names, _), group in groups.items()
    ]


def _begun_together(one: Work, other: Work) -> bool:
    """Also of runs that were killed before they had a folder: their mates' manifests name them."""
    if one.path.parent != other.path.parent:
        return False
    if one.is_new and other.is_new:
        return True
    return one.path.name in other.cohort or other.path.name in one.cohort


def _start(work: Work, mates: Sequence[Work]) -> int | None:
    """The last checkpoint, or the one before it (of step 0: the beginning), if that is a mate's last one."""
    if work.last is None:
        return None
    before = work.checkpoints[1] if len(work.checkpoints) > 1 else None
    may_go_back = before is not None or work.last == 0
    return before if may_go_back and before in [mate.last for mate in mates] else work.last
