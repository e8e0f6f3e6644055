"""The training loop: K runs, one forward and one backward pass, K updates per step.

With the backbone frozen, the loss of a member depends on its own prompt only. So one backward pass over the
sum of the losses gives each member its own gradient.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from rankprobe.backbone import fingerprint, losses, refetch_weights, training_mode
from rankprobe.data import collate
from rankprobe.errors import RankprobeError, RunFailed, RunInterrupted
from rankprobe.evaluation import evaluate_prompts
from rankprobe.interrupt import StopRequest
from rankprobe.prompts.base import total_loss
from rankprobe.threads import one_blas_thread
from rankprobe.training.checkpoints import checkpoint, fail, finish, stop
from rankprobe.training.memory import MicroBatcher
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session


def train_members(
    session: Session, members: Sequence[RunState], after_step: Callable[[], None] = lambda: None
) -> None:
    """Train members, all of them at the same step, to the end of the session.

    A member that fails ends alone; the others go on. `after_step` is called when a step is in the logs.

    Raises:
        RunInterrupted: on a stop signal, after a checkpoint of every member.
        RunFailed: one or more members failed; raised when the others have finished.
    """
    step, total, batcher = members[0].step, session.total_steps, MicroBatcher(session, len(members))
    with one_blas_thread(), StopRequest() as asked, _failing_safely(members):
        if members[0].fresh:
            evaluate_and_record(session, members, batcher, 0)
            _checkpoint(members)
        _finish_impatient(session, members)
        while step < total and _active(members):
            step += 1
            batcher.map(_active(members), partial(forward_backward, session, step))
            for member in _active(members):
                with _failing_alone(member, step), member.timed("training"):
                    member.update(step)
            evaluate_and_record(session, members, batcher, step)
            after_step()
            stopping = asked.requested and step < total
            if session.is_due(step, session.checkpoint_every) or stopping:
                _checkpoint(members)
            if stopping and _active(members):
                raise RunInterrupted(f"stopped after step {step}; continue with: {_resume(members)}")
            _finish_impatient(session, members)
        after = fingerprint(session.backbone)
        for member in _active(members):
            finish(member, after)
    if failures := [member.failure for member in members if member.failure]:
        raise RunFailed("\n".join(failures))


def forward_backward(session: Session, step: int, members: Sequence[RunState]) -> None:
    """Rows, batch, prompts, losses, backward: leaves the loss and ∂L/∂P of update `step` on each member."""
    backbone = session.backbone
    with _shared_time(members, "training"):
        rows = [member.rows(step) for member in members]
        targets = [member.target_rows(each) for member, each in zip(members, rows, strict=True)]
        batch = collate(session.train, rows, backbone.tokenizer.pad_token_id, backbone.device, targets)
        prompts = [member.forward(step, len(own)) for member, own in zip(members, rows, strict=True)]
        n, generators = len(prompts[0].P), [member.dropout_generator(step) for member in members]
        mode = training_mode(backbone, session.config, n, batch, generators)
        with mode as in_training, refetch_weights(backbone.model):
            values = losses(in_training, prompts, batch)
            total_loss(values, [member.method for member in members]).backward()
        # One copy to the host for all members.
        for member, value in zip(members, torch.stack(values).detach().tolist(), strict=True):
            member.loss = value


def evaluate_and_record(
    session: Session, members: Sequence[RunState], batcher: MicroBatcher, step: int
) -> None:
    """Score the members if an evaluation is due, then measure them and write their logs."""
    active = _active(members)
    if active and session.is_due(step, session.eval_every):
        with _shared_time(active, "evaluation"):
            scores = [rows for part in batcher.map(active, partial(score, session)) for rows in part]
        when = {"step": step, "epoch": step / session.steps_per_epoch}
        for member, rows in zip(active, scores, strict=True):
            member.note_scores(step, [when | row for row in rows])
    for member in active:
        with _failing_alone(member, step), member.timed("recording"):
            member.record(step)


def score(session: Session, members: Sequence[RunState]) -> list[list[dict[str, Any]]]:
    """For each member the rows of its evaluation."""
    prompts = [member.prompt_input() for member in members]
    return evaluate_prompts(session.eval_set, session.backbone, prompts, session.config.batch_size)


def _active(members: Sequence[RunState]) -> list[RunState]:
    return [member for member in members if not member.ended]


def _checkpoint(members: Sequence[RunState]) -> None:
    for member in _active(members):
        checkpoint(member)


def _finish_impatient(session: Session, members: Sequence[RunState]) -> None:
    """End the runs whose score has not become better for `patience` evaluations; the others go on."""
    for member in _active(members):
        if member.out_of_patience and member.step < session.total_steps:
            checkpoint(member)
            finish(member, fingerprint(session.backbone))


@contextlib.contextmanager
def _failing_alone(member: RunState, step: int) -> Iterator[None]:
    """A member that fails in here ends as failed; the others go on."""
    try:
        yield
    except RunFailed as error:
        fail(member, step, error)


@contextlib.contextmanager
def _shared_time(members: Sequence[RunState], what: str) -> Iterator[None]:
    """Charge time spent on all members to each in equal parts."""
    with contextlib.ExitStack() as stack:
        for member in members:
            stack.enter_context(member.timed(what, share=len(members)))
        yield


@contextlib.contextmanager
def _failing_safely(members: Sequence[RunState]) -> Iterator[None]:
    """Write what ends the loop early into the manifests of the unfinished runs, then raise it."""
    try:
        yield
    except (RunInterrupted, KeyboardInterrupt) as stopped:
        _stop_all(members, "interrupted", str(stopped) or None)
        raise
    except Exception as error:
        known, active = isinstance(error, RankprobeError), _active(members)
        reason = str(error) if known else f"{type(error).__name__}: {error}".removesuffix(": ")
        resume = _resume(members)
        _stop_all(members, "failed", reason)
        if gone := [str(member.run.path) for member in active if not member.run.path.exists()]:
            raise RunFailed(f"{', '.join(gone)} was removed while it was written; train it again") from error
        if isinstance(error, OSError):
            raise RunFailed(f"{reason}; fix that, then: {resume}") from error
        if known:
            raise
        raise RunFailed(f"run '{active[0].run.id}' failed ({reason}); --debug shows where") from error


def _stop_all(members: Sequence[RunState], status: str, reason: str | None) -> None:
    for member in _active(members):
        # A full disk may be the reason; the manifest then keeps its last state, which a resume can use.
        with contextlib.suppress(OSError, RankprobeError):
            stop(member, status, reason)


def _resume(members: Sequence[RunState]) -> str:
    return "rankprobe resume " + shlex.join(str(member.run.path) for member in _active(members))
