"""One writer per run folder, by a lock that the kernel lets go however its process ends.

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
        RankprobeError: another process holds it.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _locked(folder, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise RankprobeError(f"{path} is being written by another process; wait for it, or stop it")
            time.sleep(0.01)
        yield
    finally:
        os.close(folder)


def is_being_written(path: Path) -> bool:
    """Whether some process holds the run folder."""
    folder = os.open(path, os.O_RDONLY)
    try:
        return not _locked(folder, fcntl.LOCK_SH)
    finally:
        os.close(folder)


def _locked(folder: int, kind: int) -> bool:
    try:
        fcntl.flock(folder, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
