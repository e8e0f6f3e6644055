"""Doing a plan: cohort after cohort in this process, or wherever an engine takes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.runs import TRUNCATION, Run
from rankprobe.runs.lock import is_being_written
from rankprobe.sweeps.plan import pack
from rankprobe.tasks import SPLITS, load_split
from rankprobe.training.api import train_cohort
from rankprobe.training.config import RunConfig, TaskConfig
from rankprobe.training.exam import task_of
from rankprobe.training.interrupt import stopping_now
from rankprobe.training.room import members_that_fit
from rankprobe.training.session import cohort_key, config_of, open_session
from rankprobe.training.truncate import keep, truncate

Cohort = list[RunConfig]
Problems = dict[str, str]
"""Why runs did not finish, by id."""

Engine = Callable[[Sequence[Cohort], Path, Collection[str]], Iterator[tuple[Cohort, Problems]]]
"""Takes cohorts, the folder of runs, and ids of runs to be truncated; gives each cohort when it is done."""

ATTEMPTS = 2
ELSEWHERE = "is being trained by another process"


@dataclass
class Outcome:
    """What became of a plan: runs that finished, and why others did not."""

    finished: list[Run] = field(default_factory=list)
    problems: Problems = field(default_factory=dict)

    @property
    def failed(self) -> Problems:
        """Problems that another sweep is not already working at."""
        return {run_id: why for run_id, why in self.problems.items() if why != ELSEWHERE}


def sweep(
    cohorts: Sequence[Cohort],
    *,
    runs_dir: str | Path = "runs",
    cut: Collection[str] = (),
    engine: Engine | None = None,
    done: Callable[[Cohort, Problems], None] = lambda cohort, problems: None,
) -> Outcome:
    """Train every cohort: finished runs are kept, interrupted ones continued, failed ones tried once more.

    A run that fails keeps no other from being trained.

    Args:
        cohorts: as `pack` or `shard` gives them.
        runs_dir: where run folders live.
        cut: ids of runs whose prompts are truncated when they have finished.
        engine: where cohorts are trained; unset: in this process, one after another.
        done: called with each cohort that is done, and with what went wrong in it.

    Raises:
        RunInterrupted: on a stop signal (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, …), after a checkpoint; the same
            call goes on from there.
    """
    root, outcome, pending = Path(runs_dir), Outcome(), [list(cohort) for cohort in cohorts]
    try:
        with stopping_now():
            for _ in range(ATTEMPTS):
                outcome.problems = {k: why for k, why in outcome.problems.items() if why == ELSEWHERE}
                for cohort, problems in (engine or in_this_process)(pending, root, cut):
                    outcome.problems |= problems
                    done(cohort, problems)
                # Alone, so that what one of them does to its pass cannot fail the others again.
                pending = [[c] for cohort in pending for c in cohort if c.run_id in outcome.failed]
    except (RunInterrupted, KeyboardInterrupt):
        count = sum(len(cohort) for cohort in cohorts)
        ended = sum(is_finished(root / c.run_id) for cohort in cohorts for c in cohort)
        raise RunInterrupted(
            f"stopped with {ended} of {count} runs finished; the same command goes on from here"
        ) from None
    runs = [Run(root / config.run_id) for cohort in cohorts for config in cohort]
    outcome.finished = [run for run in runs if is_finished(run.path)]
    return outcome


def in_this_process(
    cohorts: Sequence[Cohort], runs_dir: Path, cut: Collection[str]
) -> Iterator[tuple[Cohort, Problems]]:
    """The engine without any machinery."""
    for cohort in cohorts:
        yield cohort, train_here(cohort, runs_dir, cut)


def train_here(
    cohort: Sequence[RunConfig], runs_dir: Path, cut: Collection[str] = (), patience: float = 0.0
) -> Problems:
    """Bring every run of a cohort to its end in this process; returns why some did not get there.

    Args:
        cohort: configs that can share a pass.
        runs_dir: where run folders live.
        cut: ids of runs to be truncated when they have finished.
        patience: seconds to wait for runs that another process is writing, before they are left to it.
    """
    problems = {config.run_id: ELSEWHERE for config in _held(cohort, runs_dir, patience)}
    problems |= _unreadable(cohort, runs_dir)
    ended = [config for config in cohort if is_finished(runs_dir / config.run_id)]
    problems |= _trained_on_other_data([Run(runs_dir / config.run_id) for config in ended])
    todo = [c for c in cohort if c not in ended and c.run_id not in problems]
    for part in _parts(todo, problems):
        problems |= _trained(part, runs_dir)
    for config in cohort:
        path = runs_dir / config.run_id
        if config.run_id in cut and is_finished(path) and config.method.prompt_length:
            problems |= _truncated(Run(path))
    return problems


def is_finished(path: Path) -> bool:
    """Whether the run is there and whole; one that cannot be read is not."""
    try:
        return path.exists() and Run(path).status == "finished"
    except RankprobeError:
        return False


def _unreadable(cohort: Sequence[RunConfig], runs_dir: Path) -> Problems:
    """Runs whose manifest is damaged: they keep no other run from being trained, and are not thrown away."""
    problems = {}
    for config in cohort:
        path = runs_dir / config.run_id
        try:
            if path.exists():
                _ = Run(path).manifest
        except RankprobeError as error:
            problems[config.run_id] = f"{error}; remove {path} to train it again"
    return problems


def _held(cohort: Sequence[RunConfig], runs_dir: Path, patience: float) -> Cohort:
    """The runs that another process is writing and does not let go in time."""
    deadline = time.monotonic() + patience
    while True:
        paths = {config.run_id: runs_dir / config.run_id for config in cohort}
        held = [c for c in cohort if paths[c.run_id].exists() and is_being_written(paths[c.run_id])]
        if not held or time.monotonic() > deadline:
            return held
        time.sleep(0.5)


def _trained(part: Cohort, runs_dir: Path) -> Problems:
    try:
        train_cohort(part, runs_dir=runs_dir, if_exists="resume")
    except RunInterrupted:
        raise
    except RankprobeError as error:
        return _reasons(part, runs_dir, str(error))
    return {}


def _reasons(part: Cohort, runs_dir: Path, said: str) -> Problems:
    """For each run that did not finish its own reason, or where its folder has none, what was `said`."""
    problems = {}
    for config in part:
        path = runs_dir / config.run_id
        if is_being_written(path):  # by another sweep that was started at the same moment
            problems[config.run_id] = ELSEWHERE
        elif not is_finished(path):
            own = Run(path).manifest["error"] if path.exists() else None
            problems[config.run_id] = own or said
    return problems


def _parts(cohort: Cohort, problems: Problems) -> list[Cohort]:
    """The cohort in as many parts as memory asks for; what cannot be loaded joins `problems`."""
    if len(cohort) < 2:
        return [cohort] if cohort else []
    try:
        return pack(cohort, most=_room(json.dumps(cohort_key(cohort[0])), cohort[0]))
    except RankprobeError as error:
        problems.update({config.run_id: str(error) for config in cohort})
        return []


_ROOM: dict[str, int] = {}


def _room(kind: str, config: RunConfig) -> int:
    """How many members of this kind of cohort there is memory for, asked once a process."""
    if kind not in _ROOM:
        session = open_session([config])
        _ROOM[kind] = members_that_fit(session, config.method.prompt_length, config.training.batch_size)
    return _ROOM[kind]


def _trained_on_other_data(runs: Sequence[Run]) -> Problems:
    """Finished runs whose data is not what is there now: neither kept silently nor thrown away."""
    problems = {}
    for run in runs:
        now = _data_fingerprint(config_of(run).task.model_dump_json())
        if now and dict(now) != run.manifest["data"]["fingerprint"]:
            problems[run.id] = (
                f"run '{run.id}' was trained on other data than there is now; sweep into another --runs-dir, "
                f"or remove {run.path}"
            )
    return problems


@cache
def _data_fingerprint(task: str) -> tuple[tuple[str, str], ...]:
    """Of each split, for a task config as JSON; empty where the data cannot be loaded any more."""
    config = TaskConfig.model_validate_json(task)
    try:
        found = task_of(config)
        return tuple((split, load_split(found, split, config.data).fingerprint) for split in SPLITS)
    except RankprobeError:
        return ()


def _truncated(run: Run) -> Problems:
    if (run.path / TRUNCATION).exists():
        return {}
    try:
        keep(run, truncate(run))
    except RankprobeError as error:
        return {run.id: f"not truncated: {error}"}
    return {}
