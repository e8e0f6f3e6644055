"""Git LFS pointers: small text files that a clone without git-lfs has in place of the real files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankprobe.errors import RankprobeError

POINTER = b"version https://git-lfs.github.com/spec/"


def check_lfs(path: str | Path) -> None:
    """Raise an error if a file is a Git LFS pointer. A file that cannot be opened is ignored here.

    Raises:
        RankprobeError: the file is a Git LFS pointer.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(POINTER))
    except OSError:
        return
    if head == POINTER:
        raise RankprobeError(f"'{path}' is a Git LFS pointer; run git lfs pull")


def check_lfs_folder(folder: str | Path, patterns: Sequence[str]) -> None:
    """`check_lfs` for each file of a folder whose name matches one of the glob patterns."""
    for pattern in patterns:
        for path in sorted(Path(folder).glob(pattern)):
            check_lfs(path)
