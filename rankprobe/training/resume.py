"""Which runs go on, from which checkpoint, and in which pass: as they were started, to keep sums equal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rankprobe.backbone import device_problem
from rankprobe.config import RunConfig
from rankprobe.config.folders import config_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import on_this_machine
from rankprobe.logger import log
from rankprobe.runs import CHECKPOINTS, Run
from rankprobe.runs.checkpoint import intact_checkpoints, last_checkpoint
from rankprobe.runs.lock import check_not_written
from rankprobe.runs.provenance import provenance
from rankprobe.settings import NEUTRAL
from rankprobe.training.manifest import with_note_of_resume

if TYPE_CHECKING:
    from rankprobe.training.run_state import RunState
    from rankprobe.training.session import Session
from rankprobe.twins import ALL_TWINS


@dataclass(frozen=True)
class PendingRun:
    """A run to be trained: a new one, or one that goes on.

    Args:
        config: its settings.
        path: its folder.
        cohort: the ids of the runs it was started with; empty for a new run.
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
        """Make sure, once its folder is locked, that no other process went on with it in the meantime.

        Raises:
            RankprobeError: one did.
        """
        written = last_checkpoint(self.path / CHECKPOINTS) != self.newest
        if written or Run(self.path).manifest["status"] == "finished":
            raise RankprobeError(f"{self.path} was written by another process just now; try again")


def pending_run(config: RunConfig, path: Path) -> PendingRun:
    """A run that stopped, with the checkpoints it can go on from.

    Raises:
        RankprobeError: it has checkpoints, and all of them are damaged.
    """
    cohort, folder = Run(path).manifest.get("cohort", []), path / CHECKPOINTS
    return PendingRun(
        config,
        path,
        cohort=tuple(cohort if path.name in cohort else [path.name]),
        checkpoints=tuple(intact_checkpoints(folder)),
        newest=last_checkpoint(folder),
    )


def group_into_passes(runs: Sequence[PendingRun]) -> list[list[PendingRun]]:
    """Runs in groups that are trained together, each with its `start` filled in.

    A kill may fall between the checkpoints of two members, or the last checkpoint of one be damaged: the
    others then go one checkpoint back to it.
    """
    groups: dict[tuple[Path, tuple[str, ...], int | None], list[PendingRun]] = {}
    for run in runs:
        mates = [each for each in runs if _started_together(run, each)]
        names = next((each.cohort for each in mates if each.cohort), ())
        started = replace(run, start=_start(run, mates))
        groups.setdefault((run.path.parent, names, started.start), []).append(started)
    # In the order in which they were started: it decides which rows of a batch are whose.
    return [
        sorted(group, key=lambda run: names.index(run.path.name)) if names else group
        for (_, names, _), group in groups.items()
    ]


def _started_together(one: PendingRun, other: PendingRun) -> bool:
    """Also true for a run that was killed before it had a folder, if the manifest of the other names it."""
    if one.path.parent != other.path.parent:
        return False
    if one.is_new and other.is_new:
        return True
    return one.path.name in other.cohort or other.path.name in one.cohort


def _start(run: PendingRun, mates: Sequence[PendingRun]) -> int | None:
    """The last checkpoint, or the one before it (of step 0: the beginning), if that is a mate's last one."""
    if run.last is None:
        return None
    before = run.checkpoints[1] if len(run.checkpoints) > 1 else None
    may_go_back = before is not None or run.last == 0
    return before if may_go_back and before in [mate.last for mate in mates] else run.last


def check_existing(config: RunConfig, path: Path, if_exists: str) -> None:
    """Make sure that a run folder that exists may be continued or replaced, as `if_exists` says.

    Raises:
        RankprobeError: it is no run folder, is in use, or was started with other settings.
    """
    if not (path / "manifest.json").is_file():
        raise RankprobeError(f"{path} exists and is no run folder; choose another --name or --runs-dir")
    run = Run(path)
    if if_exists == "error":
        raise RankprobeError(
            f"{path} exists ({run.status}); continue it with --resume, start over with --overwrite, "
            "or choose another --name (in Python: if_exists, name)"
        )
    check_not_written(path)
    then, now = config_of(run).flat(), config.flat()
    free = {*NEUTRAL, *(["dtype"] if config.dtype is None else [])}
    if then["batch_order"] == "own":  # as in all runs of earlier versions, which go on with it
        free.add("batch_order")
    if then["twin"] == "gaussian" and config.twin == ALL_TWINS:  # likewise
        free.add("twin")
    differing = [name for name in now if name not in free and then.get(name) != now[name]]
    if differing and if_exists == "resume":
        name = differing[0]
        raise RankprobeError(
            f"{path} was started with {name} {then.get(name)!r}, not {now[name]!r}; resume it with its own "
            "settings (rankprobe resume), or choose another --name"
        )


def config_to_resume(run: Run, device: str | None) -> RunConfig:
    """The run's own config, on `device`; None: on the device, or with the device map, of the training.

    Raises:
        RankprobeError: the device of the training cannot be used on this machine, and no other is given.
    """
    config = config_of(run)
    if device is not None:
        return on_this_machine(config.model_copy(update={"device": device, "device_map": None}))
    config = on_this_machine(config)
    if not config.device_map and (problem := device_problem(config.device)):
        raise RankprobeError(
            f"run '{run.id}' was trained on device '{config.device}', which cannot be used here ({problem}); "
            f"choose another: rankprobe resume {shlex.quote(str(run.path))} --device auto"
        )
    return config


def continued_config(config: RunConfig, path: Path) -> RunConfig:
    """The run's own config, with the device and the other neutral settings of `config`."""
    neutral = {name: value for name, value in config.flat().items() if name in NEUTRAL}
    return on_this_machine(RunConfig.parse(config_of(Run(path)).flat() | neutral))


def check_unchanged(run: Run, session: Session) -> None:
    """Make sure that a run goes on with the backbone, the data and the tokenizer that it was started with.

    Raises:
        RankprobeError: one of them is another one now.
    """
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


def note_resumed(state: RunState, start_error: float) -> None:
    """Write into the manifest that the run goes on, and where this machine differs from that of the start."""
    log.info("run %s goes on from step %d", state.run.id, state.step)
    manifest, now_at = state.run.manifest, provenance(str(state.session.backbone.device))
    notes = with_note_of_resume(manifest, now_at, state.step, start_error)
    resumed = [*manifest["resumed"], now_at]
    state.run.update({"status": "running", "error": None, "resumed": resumed, "notes": notes})
