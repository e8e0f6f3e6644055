"""Running a plan in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rankprobe.runs import Run
from rankprobe.sweeps.plan import pack
from rankprobe.training.api import IfExists, run_each, train_cohort
from rankprobe.training.config import RunConfig
from rankprobe.training.recorder import Hook
from rankprobe.training.room import members_that_fit
from rankprobe.training.session import open_session


def run_all(
    configs: Sequence[RunConfig],
    *,
    runs_dir: str | Path = "runs",
    if_exists: IfExists = "resume",
    hooks: Sequence[Hook] = (),
) -> list[Run]:
    """Train every config, compatible ones together; finished runs are kept, interrupted ones continued.

    A cohort has as many members as its device has room for (`training.room`).

    Returns the runs in the order of their cohorts. Errors: as `rankprobe.train`; a run that fails does not
    keep the others from being trained.
    """
    runs: list[Run] = []

    def train(cohort: list[RunConfig]) -> None:
        runs.extend(train_cohort(cohort, runs_dir=runs_dir, if_exists=if_exists, hooks=hooks))

    run_each(
        partial(train, part)
        for cohort in pack(configs)
        for part in pack(cohort, most=_room(cohort, Path(runs_dir)))
    )
    return runs


def _room(cohort: Sequence[RunConfig], runs_dir: Path) -> int:
    """How many members of a cohort can be trained at once; any number, where fewer than two are to be."""
    first, runs = cohort[0], [Run(runs_dir / config.run_id) for config in cohort]
    if sum(not (run.path.exists() and run.status == "finished") for run in runs) < 2:
        return len(cohort)
    session = open_session(cohort)
    return members_that_fit(session, first.method.prompt_length, first.training.batch_size)
