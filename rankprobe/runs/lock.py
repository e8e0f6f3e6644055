"""Locks for one writer per run folder and per unfinished file; the system frees them when a process ends.

`flock` locks the run folder itself, so no lock file is left in a finished or killed run, the lock follows a
folder that is renamed, and a reader needs no permission to write. `filelock.FileLock` cannot do this: it
locks a separate file that it opens for writing, and only exclusively, so a reader would take another reader
for a writer.

On a shared file system that does not pass locks between hosts, a run on another host looks unlocked. Windows
has no `flock`: runs can be read there, but not written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from rankprobe.errors import RankprobeError

HAS_FLOCK = find_spec("fcntl") is not None

MAX_WAIT = 0.5
"""Seconds for which a writer retries, because `is_being_written` holds a lock for a moment too."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Lock a run folder for writing inside the context.

    Raises:
        RankprobeError: another process or thread holds the lock, or the system has no `flock`.
        FileNotFoundError: the folder does not exist.
    """
    check_flock()
    folder = _open_locked(path)
    try:
        yield
    finally:
        os.close(folder)


def _open_locked(path: Path) -> int:
    """Open and lock a folder; return its descriptor. If the folder is replaced meanwhile, open it again."""
    deadline = time.monotonic() + MAX_WAIT
    while True:
        is_late = time.monotonic() > deadline
        try:
            folder = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # for a moment, while the folder is replaced
            if is_late:
                raise
        else:
            if try_lock(folder) and is_same_file(folder, path):
                return folder
            os.close(folder)
        if is_late:
            raise RankprobeError(f"{path} is being written by another process; wait for it, or stop it")
        time.sleep(0.01)


def is_being_written(path: Path) -> bool:
    """Return whether a process holds the lock of a run folder; False if the folder does not exist.

    Always False on Windows, where no process can hold it.
    """
    if not HAS_FLOCK:
        return False
    try:
        folder = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(folder, shared=True)
    finally:
        os.close(folder)


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder without waiting; return False if another process or thread holds the lock.

    Several readers can hold a `shared` lock at the same time, but none while a writer holds its lock.
    """
    import fcntl  # not at the top: Windows does not have it

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file: int) -> None:
    """Lock an open file or folder; wait until no other process or thread holds the lock."""
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)


def check_flock() -> None:
    """Refuse to write on a system without `flock`.

    Raises:
        RankprobeError: the system has no `flock`.
    """
    if not HAS_FLOCK:
        raise RankprobeError(
            "this system has no flock, which rankprobe needs to write files safely; use Linux, macOS or WSL "
            "(reading runs works here)"
        )


def is_same_file(file: int, path: Path) -> bool:
    """Return whether `path` still names the open file or folder, which may have been removed or replaced."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
