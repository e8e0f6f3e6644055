"""The loop: K members, one forward and one backward pass, K updates."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from rankprobe.backbone import (
    Backbone,
    MemberDropout,
    TextBatch,
    check_prompt_matters,
    fetching_again,
    fingerprint,
    losses,
    recomputing,
)
from rankprobe.errors import RankprobeError, RunFailed, RunInterrupted
from rankprobe.training.batching import collate
from rankprobe.training.evaluation import evaluate
from rankprobe.training.interrupt import StopRequest
from rankprobe.training.member import Member
from rankprobe.training.room import Room
from rankprobe.training.session import Session


class OneBlasThread:
    """One thread for numpy's BLAS: its idle threads spin, and slow torch's threefold on two cores.

    The number belongs to the process: it is set back when the last of the runs that train at once has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._limits = threadpool_limits(1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._limits:
                self._limits.restore_original_limits()


ONE_BLAS_THREAD = OneBlasThread()


def train_members(session: Session, members: Sequence[Member]) -> None:
    """Train members, all of them at the same step, to the end of the session.

    A member whose loss or gradient stops being finite fails alone; the others go on. With the backbone
    frozen each member's loss depends on its own prompt only, so one backward pass serves all.

    Raises:
        RunInterrupted: on a stop signal, after a checkpoint of every member.
        RunFailed: one or more members failed; raised when the others have finished.
    """
    alive, failures = list(members), list[str]()
    with ONE_BLAS_THREAD, StopRequest() as stop, _failing_safely(alive):
        step, room = alive[0].step, Room(session, len(alive))
        if alive[0].fresh:
            _start(session, alive, room, failures)
        while alive and step < session.total_steps:
            step += 1
            room.each(alive, lambda part, at=step: gradients_for(session, part, at))
            updates = update(alive, step, failures)
            record(session, alive, room, step, updates, failures)
            stopping = stop.requested and step < session.total_steps
            if session.due(step, session.checkpoint_every) or stopping:
                _checkpoint(alive)
            if stopping and alive:
                raise _interrupted(alive, step)
        after = fingerprint(session.backbone)
        while alive:
            alive[0].finish(after)
            alive.pop(0)
    if failures:
        raise RunFailed("\n".join(failures))


def gradients_for(session: Session, members: Sequence[Member], step: int) -> None:
    """One pass over the K·B sequences of update `step`: leaves loss and ∂L/∂P on each member."""
    backbone = session.backbone
    rows = [member.rows(step) for member in members]
    with _shared_time(members, "training"):
        taught = [member.taught(each) for member, each in zip(members, rows, strict=True)]
        batch = collate(session.train, rows, backbone.tokenizer.pad_token_id, backbone.device, taught)
        softs = [member.produce() for member in members]
        with _mode(session, members, batch, step), fetching_again(backbone.model):
            values = losses(backbone, softs, batch)
            penalties = [penalty for member in members if (penalty := member.penalty()) is not None]
            torch.stack(values + penalties).sum().backward()
        for member, value in zip(members, values, strict=True):
            member.loss = float(value.detach())


def update(alive: list[Member], step: int, failures: list[str]) -> list[dict[str, float]]:
    """Update every member; returns, for each that is still alive, the row of its update."""
    rows = []
    for member in list(alive):
        with _failing_alone(alive, member, step, failures), member.timed("training"):
            rows.append(member.update(step))
    return rows


def record(
    session: Session,
    alive: list[Member],
    room: Room,
    step: int,
    updates: Sequence[dict[str, float]],
    failures: list[str],
) -> None:
    """Evaluate if it is due, then let each member's recorder measure and write."""
    evals: list[list[dict[str, Any]]] = [[] for _ in alive]
    if alive and session.due(step, session.eval_every):
        with _shared_time(alive, "evaluation"):
            found = [rows for part in room.each(alive, partial(scores_of, session)) for rows in part]
        when = {"step": step, "epoch": step / session.steps_per_epoch}
        evals = [[when | row for row in rows] for rows in found]
        for member, rows in zip(alive, evals, strict=True):
            member.note_score(step, rows)
    for member, row, rows in zip(list(alive), updates, evals, strict=True):
        with _failing_alone(alive, member, step, failures), member.timed("recording"):
            member.recorder.record(step, row, rows)


def scores_of(session: Session, members: Sequence[Member]) -> list[list[dict[str, Any]]]:
    """For each member the rows of its evaluation."""
    softs = [member.soft() for member in members]
    return evaluate(session.exam, session.backbone, softs, members[0].config.training.batch_size)


@contextlib.contextmanager
def _failing_alone(alive: list[Member], member: Member, step: int, failures: list[str]) -> Iterator[None]:
    """A member that fails in here leaves `alive`, and its reason joins `failures`; the others go on."""
    try:
        yield
    except RunFailed as error:
        failures.append(member.fail(step, str(error)))
        alive.remove(member)


def _start(session: Session, members: list[Member], room: Room, failures: list[str]) -> None:
    """Step 0: make sure that prompts reach the model, then measure and score the untrained ones."""
    backbone = session.backbone
    rows = [member.rows(1) for member in members]
    batch = collate(session.train, rows, backbone.tokenizer.pad_token_id, backbone.device)
    if len(members[0].P0):
        check_prompt_matters(backbone, members[0].P0, batch)
    record(session, members, room, 0, [{} for _ in members], failures)
    _checkpoint(members)


def _checkpoint(members: Sequence[Member]) -> None:
    for member in members:
        with member.timed("recording"):
            member.checkpoint()


@contextlib.contextmanager
def _mode(session: Session, members: Sequence[Member], batch: TextBatch, step: int) -> Iterator[None]:
    """The backbone with dropout, each member drawing its own, or recomputing, if the config asks for it."""
    config = members[0].config.backbone
    if not config.dropout:
        with (
            recomputing(session.backbone.model) if config.gradient_checkpointing else contextlib.nullcontext()
        ):
            yield
        return
    n = members[0].config.method.prompt_length
    lengths = sequence_lengths(session.backbone, n, batch)
    generators = [member.dropout_generator(step) for member in members]
    session.backbone.model.train()
    try:
        with MemberDropout(generators, batch.rows, lengths):
            yield
    finally:
        session.backbone.model.eval()


def sequence_lengths(backbone: Backbone, n: int, batch: TextBatch) -> dict[int, Sequence[int]]:
    """For each length of a sequence in the batch, the lengths it would have for each member alone."""
    sources = [n + length for length in batch.source_lengths]
    padded, answers = n + batch.input_ids.shape[1], batch.labels.shape[1]
    if not backbone.causal:
        return {answers: batch.target_lengths, padded: sources}
    return {padded + answers: [s + t for s, t in zip(sources, batch.target_lengths, strict=True)]}


@contextlib.contextmanager
def _shared_time(members: Sequence[Member], what: str) -> Iterator[None]:
    """Charge time spent on all members to each in equal parts."""
    with contextlib.ExitStack() as stack:
        for member in members:
            stack.enter_context(member.timed(what, share=len(members)))
        yield


@contextlib.contextmanager
def _failing_safely(alive: Sequence[Member]) -> Iterator[None]:
    """Whatever ends the loop early is written into the manifests of the unfinished before it goes up."""
    try:
        yield
    except (RunInterrupted, KeyboardInterrupt) as stopped:
        _stop_all(alive, "interrupted", str(stopped) or None)
        raise
    except Exception as error:
        known = isinstance(error, RankprobeError)
        reason = str(error) if known else f"{type(error).__name__}: {error}".removesuffix(": ")
        _stop_all(alive, "failed", reason)
        if gone := [str(member.run.path) for member in alive if not member.run.path.exists()]:
            raise RunFailed(f"{', '.join(gone)} was removed while it was written; train it again") from error
        if isinstance(error, OSError):
            raise RunFailed(f"{reason}; mend that, then: {_resume(alive)}") from error
        if known:
            raise
        raise RunFailed(f"run '{alive[0].run.id}' failed ({reason}); --debug shows where") from error


def _stop_all(members: Sequence[Member], status: str, reason: str | None) -> None:
    for member in members:
        # The disk may be what failed; the manifest then keeps its last state, which a resume can use.
        with contextlib.suppress(OSError, RankprobeError):
            member.stop(status, reason)


def _interrupted(members: Sequence[Member], step: int) -> RunInterrupted:
    return RunInterrupted(f"stopped after step {step}; continue with: {_resume(members)}")


def _resume(members: Sequence[Member]) -> str:
    return "rankprobe resume " + shlex.join(str(member.run.path) for member in members)
