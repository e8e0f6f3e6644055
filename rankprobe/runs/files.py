"""Writes each file under a temporary name and then renames it, so no file is ever half-written."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rankprobe.runs.flock import HAS_FLOCK, is_same_file, try_lock, wait_for_lock

A_DAY = 86400.0
"""Age in seconds at which a temporary file is abandoned, where no lock tells."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`. Readers see the old or the new file, also if the process is killed.

    If several processes or threads write the same file at the same time, the last one to finish wins.
    """
    with temporary(path) as unfinished:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file as `write_atomically` does; NaN and infinity are refused with a ValueError."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@contextmanager
def temporary(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Create an empty file or folder next to `path`, which the caller fills and renames to `path`.

    It has a random name, is locked inside the context, and is removed at the end unless it was renamed.
    Earlier temporary files without a lock, which killed processes left here, are removed first; on a system
    without locks (Windows), those older than a day.

    Args:
        path: the final name.
        folder: create a folder, with its parents, instead of a file.
    """
    _remove_abandoned(path)
    unfinished, lock = _create_locked(path, folder)
    try:
        yield unfinished
    finally:
        with contextlib.suppress(OSError):  # if the disk is read-only now, let the original error through
            if os.path.lexists(unfinished):
                _remove(unfinished)
        if lock is not None:
            os.close(lock)


def _create_locked(path: Path, folder: bool) -> tuple[Path, int | None]:
    """Create an empty file or folder with a random name; return it and the descriptor that holds its lock.

    Without locks there is no descriptor: Windows cannot rename what is open.
    """
    while True:
        new = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
        try:
            if folder:
                new.mkdir(parents=True)
            else:
                new.touch(exist_ok=False)
        except OSError as error:
            error.filename = str(path)  # the user does not know the temporary name
            raise
        if not HAS_FLOCK:
            return new, None
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(new, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks
                wait_for_lock(lock)
            # Another writer may have removed it as abandoned before it was locked.
            if is_same_file(lock, new):
                return new, lock
            os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files and folders for `path` that killed processes left."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}\.partial")
    for candidate in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if not ours.fullmatch(candidate.name):
            continue
        with contextlib.suppress(OSError):  # another process removed or renamed it, or it is not our file
            if not HAS_FLOCK:
                if time.time() - candidate.lstat().st_mtime > A_DAY:
                    _remove(candidate)
                continue
            file = os.open(candidate, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if try_lock(file):
                    _remove(candidate)
            finally:
                os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
