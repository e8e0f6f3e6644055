"""Train the cohorts of a sweep: in this process, one after another, or with another engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rankprobe.config.cohort import cohort_key
from rankprobe.config.folders import config_of, run_folder
from rankprobe.config.run import RunConfig
from rankprobe.config.sections import TaskConfig
from rankprobe.data.eval_set import task_of
from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.evaluation.truncation import save_truncation, truncate
from rankprobe.interrupt import interrupt_on_signals
from rankprobe.logger import log
from rankprobe.runs import Run
from rankprobe.runs.lock import is_being_written
from rankprobe.sweeps.plan import pack
from rankprobe.tasks import SPLITS, load_split
from rankprobe.training.api import train_cohort
from rankprobe.training.memory import members_that_fit
from rankprobe.training.session import open_session

Cohort = list[RunConfig]
"""The configs of runs that are trained in one pass."""

Problems = dict[str, str]
"""From run id to the reason why the run did not finish."""

Engine = Callable[[Sequence[Cohort], Path, Collection[str]], Iterator[tuple[Cohort, Problems]]]
"""Takes cohorts, the folder of runs, and ids of runs to truncate; yields each cohort when it is done."""

ATTEMPTS = 2
ELSEWHERE = "is being trained by another process"


@dataclass
class Outcome:
    """The result of a sweep: the finished runs, and the reasons why the others did not finish."""

    finished: list[Run] = field(default_factory=list)
    problems: Problems = field(default_factory=dict)

    @property
    def failed(self) -> Problems:
        """`problems` without the runs that another process is training."""
        return {run_id: reason for run_id, reason in self.problems.items() if reason != ELSEWHERE}


def sweep(
    cohorts: Sequence[Cohort],
    *,
    runs_dir: str | Path = "runs",
    to_truncate: Collection[str] = (),
    engine: Engine | None = None,
    done: Callable[[Cohort, Problems], None] = lambda cohort, problems: None,
) -> Outcome:
    """Train all cohorts: keep finished runs, resume interrupted ones, and try failed ones once more.

    A failed run does not stop the others.

    Args:
        cohorts: the result of `pack` or `shard`.
        runs_dir: the folder of the run folders.
        to_truncate: ids of the runs to truncate after training.
        engine: trains the cohorts; unset: this process trains them one after another.
        done: is called after each cohort with the cohort and its problems.

    Raises:
        RunInterrupted: a stop signal came (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, …). The runs have written
            checkpoints; the same call continues them.
    """
    root, outcome, pending = Path(runs_dir), Outcome(), [list(cohort) for cohort in cohorts]
    try:
        with interrupt_on_signals():
            for _ in range(ATTEMPTS):
                outcome.problems = {k: why for k, why in outcome.problems.items() if why == ELSEWHERE}
                for cohort, problems in (engine or in_this_process)(pending, root, to_truncate):
                    outcome.problems |= problems
                    done(cohort, problems)
                for run_id, reason in outcome.problems.items():
                    log.info("run %s did not finish: %s", run_id, reason)
                # The second attempt trains each run alone, so that no run can make others fail.
                pending = [[c] for cohort in pending for c in cohort if c.run_id in outcome.failed]
    except (RunInterrupted, KeyboardInterrupt):
        count = sum(len(cohort) for cohort in cohorts)
        finished = sum(is_finished(run_folder(c, root)) for cohort in cohorts for c in cohort)
        raise RunInterrupted(
            f"stopped with {finished} of {count} runs finished; the same command continues from here"
        ) from None
    runs = [Run(run_folder(config, root)) for cohort in cohorts for config in cohort]
    outcome.finished = [run for run in runs if is_finished(run.path)]
    return outcome


def in_this_process(
    cohorts: Sequence[Cohort], runs_dir: Path, to_truncate: Collection[str]
) -> Iterator[tuple[Cohort, Problems]]:
    """Train cohorts one after another in this process: the default engine."""
    for cohort in cohorts:
        yield cohort, train_here(cohort, runs_dir, to_truncate)


def train_here(
    cohort: Sequence[RunConfig], runs_dir: Path, to_truncate: Collection[str] = (), lock_timeout: float = 0.0
) -> Problems:
    """Train the unfinished runs of a cohort in this process; return why some did not finish.

    Args:
        cohort: configs that can share a pass.
        runs_dir: the folder of the run folders.
        to_truncate: ids of the runs to truncate after training.
        lock_timeout: seconds to wait for a run that another process is writing; after that, it is skipped.
    """
    problems = {config.run_id: ELSEWHERE for config in _locked(cohort, runs_dir, lock_timeout)}
    problems |= _unreadable(cohort, runs_dir)
    finished = [config for config in cohort if is_finished(run_folder(config, runs_dir))]
    problems |= _trained_on_other_data(finished, runs_dir)
    todo = [c for c in cohort if c not in finished and c.run_id not in problems]
    for part in _split_by_memory(todo, problems):
        problems |= _train(part, runs_dir)
    for config in cohort:
        path = run_folder(config, runs_dir)
        if config.run_id in to_truncate and is_finished(path) and config.method.prompt_length:
            problems |= _truncate(config, Run(path))
    return problems


def is_finished(path: Path) -> bool:
    """Return whether the run at `path` is finished; False if it is missing or cannot be read."""
    try:
        return path.exists() and Run(path).status == "finished"
    except RankprobeError:
        return False


def _unreadable(cohort: Sequence[RunConfig], runs_dir: Path) -> Problems:
    """Return the runs whose manifest is damaged. They are skipped, not deleted; the other runs go on."""
    problems = {}
    for config in cohort:
        path = run_folder(config, runs_dir)
        try:
            if path.exists():
                _ = Run(path).manifest
        except RankprobeError as error:
            problems[config.run_id] = f"{error}; remove {path} to train it again"
    return problems


def _locked(cohort: Sequence[RunConfig], runs_dir: Path, timeout: float) -> Cohort:
    """Return the runs that another process is still writing after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        paths = {config.run_id: run_folder(config, runs_dir) for config in cohort}
        locked = [c for c in cohort if paths[c.run_id].exists() and is_being_written(paths[c.run_id])]
        if not locked or time.monotonic() > deadline:
            return locked
        time.sleep(0.5)


def _train(part: Cohort, runs_dir: Path) -> Problems:
    before = {config.run_id: _error_of(run_folder(config, runs_dir)) for config in part}
    try:
        train_cohort(part, runs_dir=runs_dir, if_exists="resume")
    except RunInterrupted:
        raise
    except RankprobeError as error:
        return _reasons(part, runs_dir, str(error), before)
    return {}


def _reasons(part: Cohort, runs_dir: Path, message: str, before: Mapping[str, str | None]) -> Problems:
    """Return why runs did not finish: a new error in the run's manifest, or `message`."""
    problems = {}
    for config in part:
        path = run_folder(config, runs_dir)
        if is_being_written(path):  # by another sweep that started at the same moment
            problems[config.run_id] = ELSEWHERE
        elif not is_finished(path):
            error = _error_of(path)
            is_old = error == before[config.run_id] and str(error) not in message
            problems[config.run_id] = message if error is None or is_old else error
    return problems


def _error_of(path: Path) -> str | None:
    return Run(path).manifest["error"] if path.exists() else None


def _split_by_memory(cohort: Cohort, problems: Problems) -> list[Cohort]:
    """Split a cohort into parts that fit in memory; if its data or model fails to load, add to `problems`."""
    if len(cohort) < 2:
        return [cohort] if cohort else []
    try:
        return pack(cohort, max_members=_members_that_fit(json.dumps(cohort_key(cohort[0])), cohort[0]))
    except RankprobeError as error:
        problems.update({config.run_id: str(error) for config in cohort})
        return []


_MEMBERS_THAT_FIT: dict[str, int] = {}


def _members_that_fit(key: str, config: RunConfig) -> int:
    """Return how many members of a cohort fit in memory; the result is kept for each cohort key."""
    if key not in _MEMBERS_THAT_FIT:
        session = open_session([config])
        _MEMBERS_THAT_FIT[key] = members_that_fit(session, config.method.prompt_length, config.batch_size)
    return _MEMBERS_THAT_FIT[key]


def _trained_on_other_data(finished: Sequence[RunConfig], runs_dir: Path) -> Problems:
    """Return the finished runs whose data has changed since they were trained; these runs are not deleted."""
    problems = {}
    for config in finished:
        run = Run(run_folder(config, runs_dir))
        now = _data_fingerprint(json.dumps(config_of(run).section(TaskConfig)))
        if now and now != run.manifest["data"]["fingerprint"]:
            problems[config.run_id] = (
                f"the data of run '{run.id}' has changed since it was trained; "
                f"sweep into another --runs-dir, or remove {run.path}"
            )
    return problems


@cache
def _data_fingerprint(task: str) -> dict[str, str]:
    """Return the fingerprint of each split of a task config in JSON; empty if the data cannot be loaded."""
    config = TaskConfig.parse(json.loads(task))
    try:
        return {split: load_split(task_of(config), split, config.data).fingerprint for split in SPLITS}
    except RankprobeError:
        return {}


def _truncate(config: RunConfig, run: Run) -> Problems:
    try:
        if "final" not in run.truncations():
            save_truncation(run, truncate(run))
    except RankprobeError as error:
        return {config.run_id: f"not truncated: {error}"}
    return {}
