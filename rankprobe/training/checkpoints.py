"""A run on disk: creating its folder, saving and restoring its state, and ending it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from rankprobe.errors import ColumnTaken, RankprobeError, RunFailed
from rankprobe.logger import log
from rankprobe.runs import CHECKPOINTS, LOGS, PROMPT, Run, new_run
from rankprobe.runs.checkpoint import (
    drop_later_checkpoints,
    drop_old_checkpoints,
    load_checkpoint,
    save_checkpoint,
    write_tensors,
)
from rankprobe.runs.contract import with_current_names
from rankprobe.runs.heartbeat import check_not_taken_over, taken_over_by
from rankprobe.runs.logs import LogPrefix, check_log, compact, rewind
from rankprobe.runs.provenance import now
from rankprobe.training.manifest import new_manifest
from rankprobe.training.run_state import RunState
from rankprobe.training.twins import below
from rankprobe.twins import twin_prefix

SAME_START = 1e-4
"""Largest ‖P0 − saved P0‖ / ‖saved P0‖ (Frobenius norms) that counts as rounding."""


def new_folder(
    state: RunState, cohort: Sequence[str], *, replace: bool = False
) -> AbstractContextManager[Run]:
    """Create the run folder with its manifest, and hold it for writing inside the context.

    Args:
        state: before step 0.
        cohort: the ids of the runs that are trained together.
        replace: whether an existing run folder is removed.
    """
    manifest = new_manifest(state.config, state.session, state.optimization)
    return new_run(state.run.path, manifest | {"cohort": list(cohort)}, replace=replace)


def checkpoint(state: RunState) -> None:
    """Save everything that a resume needs, then the progress in the manifest.

    Raises:
        RankprobeError: another host took the run over, or a log was removed or changed.
    """
    check_not_taken_over(state.run.path)
    with state.timed("recording"):
        state.progress["step"] = state.step
        tensors = {"P0": state.P0, **state.best}
        tensors |= {f"run.{name}": value for name, value in state.optimization.state().items()}
        tensors |= state.twins.state()
        state.progress |= {f"{twin_prefix(kind)}lost": at for kind, at in state.twins.diverged.items()}
        facts = {"logs": state.recorder.sync(), "progress": state.progress, "timings": state.timings}
        save_checkpoint(state.run.path / CHECKPOINTS, state.step, tensors, facts)
        state.run.update({"progress": state.progress, "timings": state.timings, "updated": now()})
    log.debug("checkpoint of run %s at step %d", state.run.id, state.step)


def restore(state: RunState, start: int | None) -> float:
    """Bring a new state to the checkpoint of step `start`, cut the logs back to it, and open them.

    Args:
        state: as constructed.
        start: a step that has a whole checkpoint; None: the beginning, with empty logs.

    Returns:
        ‖P0 − saved P0‖ / ‖saved P0‖: 0 on the machine where the run was started, rounding on others.

    Raises:
        RankprobeError: the initial prompt is not that of the checkpoint, or a log that the checkpoint relies
            on was lost or changed; no file was touched.
    """
    folder, covered, start_error = state.run.path / CHECKPOINTS, dict[str, Any].fromkeys(LOGS, 0), 0.0
    if start is not None:
        tensors, facts = load_checkpoint(folder, start)
        device = state.P0.device
        start_error = _use_saved_start(state, tensors["P0"].to(device))
        state.best = {name: each.to(device) for name, each in tensors.items() if name.startswith("best")}
        state.optimization.load(below("run.", tensors))
        state.progress, state.timings, covered = (
            with_current_names(facts["progress"]),
            facts["timings"],
            facts["logs"],
        )
        lost = {name: state.progress.get(f"{twin_prefix(name)}lost") for name in state.twins.names}
        state.twins.load(tensors, {name: step for name, step in lost.items() if step is not None})
        state.step, state.fresh = start, False
    try:  # only our own logs, whatever else the checkpoint of a stranger may name
        logs = {state.run.path / f"{name}.jsonl": LogPrefix.parse(covered[name]) for name in LOGS}
    except (LookupError, TypeError, ValueError) as error:
        raise RankprobeError(f"a checkpoint in {folder} cannot be used ({error!r})") from None
    for path, part in logs.items():
        check_log(path, part, state.step)
    drop_later_checkpoints(folder, start)
    for path, part in logs.items():
        rewind(path, part, state.step)
    state.open_logs()
    return start_error


def _use_saved_start(state: RunState, saved: Tensor) -> float:
    """Use the saved P0 in place of the one made now, if they are equal up to rounding; returns the distance.

    Other machines and versions round the same computation differently.
    """
    distance = relative_distance(state.P0, saved)
    if not distance <= SAME_START:
        source = getattr(state.config.method, "init_from", None) or "the versions of its manifest"
        raise RankprobeError(
            f"run '{state.run.id}' cannot be resumed: its initial prompt is not what it was; restore "
            f"{source}, or start over with --overwrite"
        )
    for buffer in state.method.buffers():  # the twins share them
        if torch.equal(buffer, state.P0):
            buffer.copy_(saved)
    state.P0 = saved
    return distance


def relative_distance(P: Tensor, saved: Tensor) -> float:
    """‖P − saved‖ / ‖saved‖ in Frobenius norms, in float64; infinite for other shapes or `saved` = 0."""
    if P.shape != saved.shape:
        return math.inf
    P, saved = P.cpu().double(), saved.cpu().double()  # MPS has no float64
    distance = float(torch.linalg.vector_norm(P - saved))
    norm = float(torch.linalg.vector_norm(saved))
    if distance == 0:
        return 0.0
    return distance / norm if norm else math.inf


def finish(state: RunState, backbone_fingerprint: str) -> None:
    """Write the prompts, compact the logs, and mark the run as finished.

    Args:
        state: after its last step.
        backbone_fingerprint: of the backbone as it is now.

    Raises:
        RunFailed: the frozen backbone has changed, so the results cannot be trusted.
        RankprobeError: another host took the run over.
    """
    check_not_taken_over(state.run.path)
    run, before = state.run, state.session.backbone_fingerprint
    backbone = {**run.manifest["backbone"], "fingerprint_after": backbone_fingerprint}
    run.update({"backbone": backbone, "readings": run.readings()})
    if backbone_fingerprint != before and not state.config.method.trains_backbone:
        raise RunFailed(
            f"run '{run.id}': the frozen backbone changed during training (fingerprint "
            f"{before[:12]} became {backbone_fingerprint[:12]}); do not use its results"
        )
    state.recorder.close()
    trained = {f"factor.{name}": p for name, p in state.optimization.trained.items()}
    write_tensors(run.path / PROMPT, {"P0": state.P0, **state.best, "final": state.prompt(), **trained})
    for name in LOGS:
        compact(run.path / name)
    drop_old_checkpoints(run.path / CHECKPOINTS, 1)
    run.update({"status": "finished", "updated": now()})
    state.ended = True


def fail(state: RunState, step: int, error: RunFailed) -> None:
    """End the run as failed; `state.failure` says why, and what to do next."""
    message = f"run '{state.run.id}' failed at step {step}: {error}; its logs stay in {state.run.path}"
    if not isinstance(error, ColumnTaken):
        half = "--dtype float32, or " if state.config.dtype == "bfloat16" else ""
        message += f"; try {half}a lower {'--factor-scale' if step == 0 else '--learning-rate'}"
    stop(state, "failed", message)
    state.failure = message


def stop(state: RunState, status: str, error: str | None = None) -> None:
    """End the run before its last step as `interrupted` or `failed`; its logs stay.

    If another host took the run over, its manifest is left to that host.
    """
    state.recorder.close()
    if not taken_over_by(state.run.path):
        state.run.update({"status": status, "error": error, "updated": now()})
    state.ended = True
