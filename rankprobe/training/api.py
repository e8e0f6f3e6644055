"""Training from Python: what the command line calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rankprobe.config import RunConfig
from rankprobe.config.folders import run_folder
from rankprobe.config.pins import pinned
from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.evaluation import on_this_machine
from rankprobe.runs import Run
from rankprobe.runs.step_record import Hook
from rankprobe.trackers import Reporters
from rankprobe.training.cohort import open_cohort
from rankprobe.training.loop import train_members
from rankprobe.training.resume import (
    PendingRun,
    check_existing,
    config_to_resume,
    continued_config,
    group_into_passes,
    pending_run,
)

IfExists = Literal["error", "resume", "overwrite"]


def probe(
    *,
    runs_dir: str | Path = "runs",
    name: str | None = None,
    if_exists: IfExists = "error",
    hooks: Sequence[Hook] = (),
    report_to: str | Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train the paper's probe; `settings` are those of the command line, by flat name.

    >>> run = probe(task="cb", model="t5-base", seed=1)  # doctest: +SKIP

    Returns, raises, and the other arguments: as `train`.
    """
    config = RunConfig.parse({"method": "probe", **settings})
    if config.method.name != "probe":
        method = config.method.name
        raise RankprobeError(f"method is '{method}', but probe trains the probe; use rp.train")
    return train(config, runs_dir=runs_dir, name=name, if_exists=if_exists, hooks=hooks, report_to=report_to)


def train(
    config: RunConfig,
    *,
    runs_dir: str | Path = "runs",
    name: str | None = None,
    if_exists: IfExists = "error",
    hooks: Sequence[Hook] = (),
    report_to: str | Sequence[str] = (),
) -> Run:
    """Train one run and return it when it has finished.

    Args:
        config: what to train; see `RunConfig.parse`.
        runs_dir: where run folders live.
        name: the run's id; unset: made from the config.
        if_exists: what to do with a run folder of that name: refuse, continue it, or start over.
        hooks: called after each step with a `StepRecord`; numbers they return are logged.
        report_to: experiment trackers, such as `["wandb", "tensorboard"]`, which a process of its own feeds
            from the run folder. They change nothing in it, and one that fails gives a warning.

    Raises:
        RankprobeError: bad input; nothing was written.
        RunFailed: the run could not go on; its logs stay.
        RunInterrupted: SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or SIGXCPU, after a checkpoint.
    """
    names = None if name is None else [name]
    (run,) = train_cohort(
        [config], runs_dir=runs_dir, names=names, if_exists=if_exists, hooks=hooks, report_to=report_to
    )
    return run


def train_cohort(
    configs: Sequence[RunConfig],
    *,
    runs_dir: str | Path = "runs",
    names: Sequence[str] | None = None,
    if_exists: IfExists = "error",
    hooks: Sequence[Hook] = (),
    report_to: str | Sequence[str] = (),
) -> list[Run]:
    """Train runs that share backbone, task, prompt length and schedule in one pass per step.

    Each member's result is what it would be alone, up to the order of floating-point sums. Arguments and
    errors: as `train`.
    """
    root, reporters = Path(runs_dir), Reporters(report_to)
    if root.is_file():
        raise RankprobeError(f"'{root}' is a file; --runs-dir needs a folder")
    configs = [pinned(config) for config in configs]
    folders = [root / name for name in names] if names is not None else [run_folder(c, root) for c in configs]
    ids = list(names) if names is not None else [folder.name for folder in folders]
    if len(ids) != len(configs):
        raise RankprobeError(f"{len(ids)} names for {len(configs)} runs; give one each")
    if len(set(ids)) < len(ids):
        raise RankprobeError(f"two runs of a cohort have the same id: {', '.join(ids)}; change a seed")
    for run_id in ids:
        if not run_id or Path(run_id).name != run_id or run_id.startswith("."):
            raise RankprobeError(f"run name '{run_id}' is no plain folder name; choose another --name")
    for config, path in zip(configs, folders, strict=True):
        if path.exists():
            check_existing(config, path, if_exists)
    goes_on = [path.exists() and if_exists == "resume" for path in folders]
    pending = [
        pending_run(continued_config(config, path), path)
        if old
        else PendingRun(on_this_machine(config), path)
        for config, path, old in zip(configs, folders, goes_on, strict=True)
        if not (old and Run(path).status == "finished")
    ]
    _train_all(pending, hooks, reporters, overwrite=if_exists == "overwrite")
    return [Run(path) for path in folders]


def resume(
    runs: Sequence[Run],
    *,
    device: str | None = None,
    hooks: Sequence[Hook] = (),
    report_to: str | Sequence[str] = (),
) -> list[Run]:
    """Continue runs from their checkpoints; on CPU the result equals an uninterrupted run's bit for bit.

    On another machine, or with other versions, it equals it up to rounding, and the manifest's notes say so.
    Runs that were started in one pass go on in one pass, from the last checkpoint that all of them have. One
    whose mates have finished, or were not given, equals its uninterrupted result up to the order of
    floating-point sums. Finished runs are left as they are; one that fails does not keep the others from
    going on. Where the last checkpoint is damaged, the one before it is used, with a warning.

    Args:
        runs: runs that stopped; finished ones may be among them.
        device: where to go on: auto, cpu, cuda, …; None: on the device of the training. The frozen weights
            keep the dtype of the training.
        hooks: as in `train`.
        report_to: as in `train`; a tracker that has the run already goes on with it.

    Raises:
        RankprobeError: a run is being written by another process, its checkpoint is damaged, its device
            cannot be used here, or backbone, data or tokenizer are not those it was started with.
        RunFailed: one or more runs failed; raised when the others have finished.
    """
    reporters = Reporters(report_to)
    pending = [
        pending_run(config_to_resume(run, device), run.path) for run in runs if run.status != "finished"
    ]
    _train_all(pending, hooks, reporters)
    return list(runs)


def _train_all(
    pending: Sequence[PendingRun], hooks: Sequence[Hook], reporters: Reporters, *, overwrite: bool = False
) -> None:
    """Train pass after pass; runs that failed are raised together when the others have finished."""
    failures: list[RunFailed] = []
    for group in group_into_passes(pending):
        try:
            with reporters, open_cohort(group, hooks, overwrite=overwrite) as (session, members):
                reporters.start([member.run.path for member in members])
                train_members(session, members, after_step=reporters.check)
        except RunFailed as failed:
            failures.append(failed)
    if len(failures) > 1:
        raise RunFailed("\n".join(map(str, failures))) from failures[0]
    if failures:
        raise failures[0]
