"""One writer per run folder and per unfinished file, by locks that end with their process.

On a shared file system whose locks do not reach other hosts, a run on another host looks unlocked.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankprobe.errors import RankprobeError

PATIENCE = 0.5
"""Seconds to retry: a reader that asks whether the folder is locked holds it for an instant itself."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the run folder for writing.

    Raises:
        RankprobeError: another process, or another thread of this one, holds it.
        FileNotFoundError: there is no such folder.
    """
    folder = _locked_folder(path)
    try:
        yield
    finally:
        os.close(folder)


def _locked_folder(path: Path) -> int:
    """An open folder with the lock on it; a folder that was replaced while we waited is opened again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        late = time.monotonic() > deadline
        try:
            folder = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # a folder is missing for an instant while it is replaced
            if late:
                raise
        else:
            if try_lock(folder, fcntl.LOCK_EX) and is_at(folder, path):
                return folder
            os.close(folder)
        if late:
            raise RankprobeError(f"{path} is being written by another process; wait for it, or stop it")
        time.sleep(0.01)


def is_being_written(path: Path) -> bool:
    """Whether some process holds the run folder; not so if there is none."""
    try:
        folder = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(folder, fcntl.LOCK_SH)
    finally:
        os.close(folder)


def try_lock(file: int, kind: int) -> bool:
    """Lock an open file or folder; False if another holds it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(file: int, path: Path) -> bool:
    """Whether the open file or folder is still what `path` names: neither removed nor replaced."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
