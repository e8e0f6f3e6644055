"""Opens the runs of one pass: what they share, and each in its folder at its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rankprobe.backbone import check_prompt_matters
from rankprobe.data import collate
from rankprobe.logger import log
from rankprobe.runs import Run
from rankprobe.runs.lock import writing
from rankprobe.runs.step_record import Hook
from rankprobe.training.checkpoints import new_folder, restore
from rankprobe.training.resume import PendingRun, check_unchanged, note_resumed
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session, open_session


@contextmanager
def open_cohort(
    pending: Sequence[PendingRun], hooks: Sequence[Hook], *, overwrite: bool = False
) -> Iterator[tuple[Session, list[RunState]]]:
    """The session and the members of one pass, ready to train; their folders are locked inside the context.

    Args:
        pending: runs that go on from the same step, or that are all new.
        hooks: called after each step.
        overwrite: replace a finished or stopped run in the folder of a new one, once the new one can start.
            Without it such a run was made by another process a moment ago, and is left alone.

    Raises:
        RankprobeError: the runs cannot share a pass, data or backbone are missing or have changed, a folder
            is in use, or a checkpoint cannot be used.
    """
    count = f"{len(pending)} run{'s' * (len(pending) != 1)}"
    log.info("one pass for %s: %s", count, ", ".join(run.path.name for run in pending))
    session = open_session([run.config for run in pending])
    for run in pending:
        if not run.is_new:
            check_unchanged(Run(run.path), session)
    members = [RunState(run.config, session, run.path, hooks) for run in pending]
    if pending[0].is_new:
        _check_prompt_matters(session, members[0])
    names = [run.path.name for run in pending]
    with ExitStack() as locks:
        start_errors = []
        for run, member in zip(pending, members, strict=True):
            if run.is_new:
                locks.enter_context(new_folder(member, names, replace=overwrite))
            else:
                locks.enter_context(writing(run.path))
            run.check_untouched()
            start_errors.append(restore(member, run.start))
        for run, member, start_error in zip(pending, members, start_errors, strict=True):
            if not run.is_new:
                note_resumed(member, start_error)
        yield session, members


def _check_prompt_matters(session: Session, member: RunState) -> None:
    """Make sure, before anything is written, that the model does not ignore the prompt."""
    backbone = session.backbone
    if len(member.P0):
        batch = collate(session.train, [[0]], backbone.tokenizer.pad_token_id, backbone.device)
        check_prompt_matters(backbone, member.P0, batch)
