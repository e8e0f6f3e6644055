"""One writer per run folder: a kernel lock on this machine, and a heartbeat for the others.

`flock` locks the run folder itself, so the lock follows a folder that is renamed, and a reader needs no
permission to write. `filelock.FileLock` cannot do this: it locks a separate file that it opens for writing,
and only exclusively, so a reader would take another reader for a writer. Where locks do not reach, between
hosts, on Windows and on file systems without locks, `runs/heartbeat.py` says who writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.runs.flock import HAS_FLOCK, is_same_file, try_lock
from rankprobe.runs.heartbeat import beating, other_writer

MAX_WAIT = 0.5
"""Seconds for which a writer retries, because `is_being_written` holds a lock for a moment too."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Lock a run folder for writing inside the context.

    Raises:
        RankprobeError: another process or thread holds the lock, or another host writes the folder.
        FileNotFoundError: the folder does not exist.
    """
    folder, locks = _open_locked(path) if HAS_FLOCK else (None, False)
    try:
        with beating(path, locks=locks):
            yield
    finally:
        if folder is not None:
            os.close(folder)


def _open_locked(path: Path) -> tuple[int, bool]:
    """Open and lock a folder; return its descriptor, and whether there are locks.

    If the folder is replaced meanwhile, open it again.
    """
    deadline = time.monotonic() + MAX_WAIT
    while True:
        is_late = time.monotonic() > deadline
        try:
            folder = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # for a moment, while the folder is replaced
            if is_late:
                raise
        else:
            locked = try_lock(folder)
            if locked is not False and is_same_file(folder, path):
                return folder, bool(locked)
            os.close(folder)
        if is_late:
            raise RankprobeError(f"{path} is being written by another process; wait for it, or stop it")
        time.sleep(0.01)


def is_being_written(path: Path) -> bool:
    """Return whether a process writes a run folder; False if the folder does not exist."""
    return writer_of(path) is not None


def check_not_written(path: Path) -> None:
    """Refuse a run folder that another process writes.

    Raises:
        RankprobeError: one does; the message says which, if it is on another host.
    """
    if writer := writer_of(path):
        raise RankprobeError(f"{path} is being written by {writer}")


def writer_of(path: Path) -> str | None:
    """Describe the process that writes a run folder and what to do about it; None if there is none."""
    locked = None
    if HAS_FLOCK:
        try:
            folder = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            locked = try_lock(folder, shared=True)
        finally:
            os.close(folder)
    if locked is False:
        return "another process; wait for it, or stop it"
    return other_writer(path, locks=bool(locked))
