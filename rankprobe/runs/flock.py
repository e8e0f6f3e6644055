"""Kernel locks of open files and folders; the system frees them when a process ends, however it ends.

Windows has no `flock`, and some file systems of clusters refuse it (Lustre mounted without it). There
`try_lock` says NO_LOCKS, and the heartbeat of a run folder (`runs/heartbeat.py`) is what keeps others out.
"""

from __future__ import annotations

import errno
import os
from importlib.util import find_spec
from pathlib import Path

HAS_FLOCK = find_spec("fcntl") is not None

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What the system answers to a lock on a file system that has none."""


def try_lock(file: int, *, shared: bool = False) -> bool | None:
    """Lock an open file or folder without waiting.

    Several readers can hold a `shared` lock at the same time, but none while a writer holds its lock.

    Returns:
        True: it is locked. False: another process or thread holds the lock. None: there are no locks here.
    """
    if not HAS_FLOCK:
        return None
    import fcntl  # not at the top: Windows does not have it

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def wait_for_lock(file: int) -> None:
    """Lock an open file or folder; wait until no other process or thread holds the lock."""
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)


def is_same_file(file: int, path: Path) -> bool:
    """Return whether `path` still names the open file or folder, which may have been removed or replaced."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
