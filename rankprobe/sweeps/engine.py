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


def run_all(
    configs: Sequence[RunConfig],
    *,
    runs_dir: str | Path = "runs",
    if_exists: IfExists = "resume",
    hooks: Sequence[Hook] = (),
) -> list[Run]:
    """Train every config, compatible ones together; finished runs are kept, interrupted ones continued.

    Returns the runs in the order of their cohorts. Errors: as `rankprobe.train`; a run that fails does not
    keep the others from being trained.
    """
    runs: list[Run] = []

    def train(cohort: list[RunConfig]) -> None:
        runs.extend(train_cohort(cohort, runs_dir=runs_dir, if_exists=if_exists, hooks=hooks))

    run_each(partial(train, cohort) for cohort in pack(configs))
    return runs
