"""Training from Python: what the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.prompts import build
from rankprobe.runs import Run, new_run
from rankprobe.runs.lock import is_being_written, writing
from rankprobe.settings import flatten
from rankprobe.training.config import RunConfig
from rankprobe.training.learner import Learner
from rankprobe.training.loop import train_members
from rankprobe.training.manifest import new_manifest, provenance, with_note_of_resume
from rankprobe.training.member import Member
from rankprobe.training.passes import Work, passes, work_left
from rankprobe.training.recorder import Hook
from rankprobe.training.seeding import torch_generator
from rankprobe.training.session import Session, config_of, open_session
from rankprobe.training.words import words_for

IfExists = Literal["error", "resume", "overwrite"]


def probe(
    *,
    runs_dir: str | Path = "runs",
    name: str | None = None,
    if_exists: IfExists = "error",
    hooks: Sequence[Hook] = (),
    **settings: Any,
) -> Run:
    """Train the paper's probe; `settings` are those of the command line, by flat name.

    >>> run = probe(task="cb", model="t5-base", seed=1)  # doctest: +SKIP

    Returns, raises, and the other arguments: as `train`.
    """
    config = RunConfig.from_flat({**settings, "method": "probe"})
    return train(config, runs_dir=runs_dir, name=name, if_exists=if_exists, hooks=hooks)


def train(
    config: RunConfig,
    *,
    runs_dir: str | Path = "runs",
    name: str | None = None,
    if_exists: IfExists = "error",
    hooks: Sequence[Hook] = (),
) -> Run:
    """Train one run and return it when it has finished.

    Args:
        config: what to train; see `RunConfig.from_flat`.
        runs_dir: where run folders live.
        name: the run's id; unset: made from the config.
        if_exists: what to do with a run folder of that name: refuse, continue it, or start over.
        hooks: called after each step with a `StepRecord`; numbers they return are logged.

    Raises:
        RankprobeError: bad input; nothing was written.
        RunFailed: the run could not go on; its logs stay.
        RunInterrupted: SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or SIGXCPU, after a checkpoint.
    """
    names = None if name is None else [name]
    (run,) = train_cohort([config], runs_dir=runs_dir, names=names, if_exists=if_exists, hooks=hooks)
    return run


def train_cohort(
    configs: Sequence[RunConfig],
    *,
    runs_dir: str | Path = "runs",
    names: Sequence[str] | None = None,
    if_exists: IfExists = "error",
    hooks: Sequence[Hook] = (),
) -> list[Run]:
    """Train runs that share backbone, task, prompt length and schedule in one pass per step.

    Each member's result is what it would be alone, up to the order of floating-point sums. Arguments and
    errors: as `train`.
    """
    ids = list(names) if names is not None else [config.run_id for config in configs]
    paths = [Path(runs_dir) / run_id for run_id in ids]
    if len(ids) != len(configs):
        raise RankprobeError(f"{len(ids)} names for {len(configs)} runs; give one each")
    if len(set(ids)) < len(ids):
        raise RankprobeError(f"two runs of a cohort have the same id: {', '.join(ids)}; change a seed")
    for run_id in ids:
        if not run_id or Path(run_id).name != run_id or run_id.startswith("."):
            raise RankprobeError(f"run name '{run_id}' is no plain folder name; choose another --name")
    for config, path in zip(configs, paths, strict=True):
        if path.exists():
            _check_existing(config, path, if_exists)
    goes_on = [path.exists() and if_exists == "resume" for path in paths]
    works = [
        work_left(config, path) if old else Work(config, path)
        for config, path, old in zip(configs, paths, goes_on, strict=True)
        if not (old and Run(path).status == "finished")
    ]
    overwrite = if_exists == "overwrite"
    run_each(partial(_train_together, each, hooks, overwrite=overwrite) for each in passes(works))
    return [Run(path) for path in paths]


def resume(runs: Sequence[Run], *, hooks: Sequence[Hook] = ()) -> list[Run]:
    """Continue runs from their checkpoints; on CPU the result equals an uninterrupted run's bit for bit.

    On another machine, or with other versions, it equals it up to rounding, and the manifest's notes say so.
    Runs that were started in one pass go on in one pass, from the last checkpoint that all of them have. One
    whose mates have finished, or were not given, equals its uninterrupted result up to the order of
    floating-point sums. Finished runs are left as they are; one that fails does not keep the others from
    going on. Where the last checkpoint is damaged, the one before it is used, with a warning.

    Raises:
        RankprobeError: a run is being written by another process, its checkpoint is damaged, or backbone,
            data or tokenizer are not those it was started with.
        RunFailed: one or more runs failed; raised when the others have finished.
    """
    works = [work_left(config_of(run), run.path) for run in runs if run.status != "finished"]
    run_each(partial(_train_together, each, hooks) for each in passes(works))
    return list(runs)


def run_each(works: Iterable[Callable[[], object]]) -> None:
    """Do every piece of work; runs that failed are raised together when the others have finished."""
    failures: list[RunFailed] = []
    for work in works:
        try:
            work()
        except RunFailed as failed:
            failures.append(failed)
    if len(failures) > 1:
        raise RunFailed("\n".join(map(str, failures))) from failures[0]
    if failures:
        raise failures[0]


def _train_together(works: Sequence[Work], hooks: Sequence[Hook], *, overwrite: bool = False) -> None:
    """One pass: runs from the same step on, the new ones in new folders.

    With `overwrite` a run that stands where a new one goes is removed, once the new one can begin. Otherwise
    it was made by another process since this one looked, and is left alone.
    """
    session = open_session([work.config for work in works])
    for work in works:
        if not work.is_new:
            _check_unchanged(Run(work.path), session)
    learners = [new_learner(work.config, session) for work in works]
    manifests = [
        new_manifest(work.config, session, learner) | {"cohort": [each.path.name for each in works]}
        for work, learner in zip(works, learners, strict=True)
    ]
    with ExitStack() as locks:
        members = []
        for work, learner, manifest in zip(works, learners, manifests, strict=True):
            if work.is_new:
                locks.enter_context(new_run(work.path, manifest, replace=overwrite))
            else:
                locks.enter_context(writing(work.path))
            work.check_untouched()
            members.append(Member(work.config, session, learner, Run(work.path), hooks, work.start))
        for member, work in zip(members, works, strict=True):
            if not work.is_new:
                _note_resumed(member, session)
        train_members(session, members)


def _note_resumed(member: Member, session: Session) -> None:
    manifest, now_at = member.run.manifest, provenance(str(session.backbone.device))
    notes = with_note_of_resume(manifest, now_at, member.step, member.start_error)
    resumed = [*manifest["resumed"], now_at]
    member.run.update({"status": "running", "error": None, "resumed": resumed, "notes": notes})


def new_learner(config: RunConfig, session: Session) -> Learner:
    """The method that `config` names, in its initial state, with its optimizer."""
    backbone = session.backbone
    words = words_for(config.method, backbone, session.task.answer_set(session.exam.targets))
    method = build(config.method, words, torch_generator(config.seed, "init"))
    return Learner(method.to(backbone.device), backbone.model, config.training, session.total_steps)


def _check_existing(config: RunConfig, path: Path, if_exists: IfExists) -> None:
    if not (path / "manifest.json").is_file():
        raise RankprobeError(f"{path} exists and is no run folder; choose another --name or --runs-dir")
    run = Run(path)
    if if_exists == "error":
        raise RankprobeError(
            f"{path} exists ({run.status}); continue it with --resume, start over with --overwrite, "
            "or choose another --name (in Python: if_exists, name)"
        )
    if is_being_written(path):
        raise RankprobeError(f"{path} is being written by another process; wait for it, or stop it")
    then, now = flatten(run.manifest["config"]), flatten(config.tree())
    differing = [name for name in now if if_exists == "resume" and then.get(name) != now[name]]
    if differing:
        name = differing[0]
        raise RankprobeError(
            f"{path} was started with {name} {then.get(name)!r}, not {now[name]!r}; resume it with its own "
            "settings (rankprobe resume), or choose another --name"
        )


def _check_unchanged(run: Run, session: Session) -> None:
    manifest = run.manifest
    backbone, data = manifest["backbone"], manifest["data"]
    frozen = not config_of(run).method.trains_backbone
    if frozen and backbone["fingerprint_after"] not in (None, backbone["fingerprint"]):
        raise RankprobeError(
            f"run '{run.id}' cannot be resumed: its backbone changed during training; "
            "start over with --overwrite"
        )
    for what, then, found in (
        ("backbone", backbone["fingerprint"], session.backbone_fingerprint),
        ("data", data["fingerprint"], session.data_fingerprint),
        ("tokenizer", data["tokens_fingerprint"], session.tokens_fingerprint),
    ):
        if then != found:
            raise RankprobeError(
                f"run '{run.id}' cannot be resumed: its {what} is not what it was started with; "
                "restore it, or start over with --overwrite"
            )
