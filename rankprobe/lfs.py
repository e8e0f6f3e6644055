"""Git LFS pointers: the small text files that a clone without git-lfs leaves in place of the real files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankprobe.errors import RankprobeError

POINTER = b"version https://git-lfs.github.com/spec/"


def check_lfs(path: str | Path) -> None:
    """Refuse a file that is a Git LFS pointer; a file that cannot be opened is left to its reader.

    Raises:
        RankprobeError: it is one.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(POINTER))
    except OSError:
        return
    if head == POINTER:
        raise RankprobeError(f"'{path}' is a Git LFS pointer; run git lfs pull")


def check_lfs_folder(folder: str | Path, patterns: Sequence[str]) -> None:
    """`check_lfs` for the files of a folder whose names match one of the patterns."""
    for pattern in patterns:
        for path in sorted(Path(folder).glob(pattern)):
            check_lfs(path)
