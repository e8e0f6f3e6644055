"""Files that are never half-written, and tell when they were damaged.

Whole files are written aside, renamed, and carry a checksum; logs only grow.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile, write_table

from rankprobe.errors import RankprobeError
from rankprobe.runs.lock import is_at, try_lock

TAIL = 2**16
"""Bytes read to find the last row of a log; rows are far shorter."""

CHUNK = 2**20
"""Bytes read at once to compute a checksum."""

UNSEALED = "0" * 64
"""What stands in a file in place of its SHA-256 while that is computed."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a reader, or a kill at any instant, finds the old file or the new.

    Several processes and threads may write the same file at once: the last one to finish wins.
    """
    with temporary(path) as unfinished:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)


@contextmanager
def temporary(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new file or folder beside `path` with a name of its own, to be filled and renamed to `path`.

    It is locked inside the context, and removed at the end unless it was renamed. Before, what killed
    processes left beside `path` in this way is removed: it has no lock.

    Args:
        path: what will be written.
        folder: make a folder, and the folders above it, instead of a file.
    """
    _remove_abandoned(path)
    unfinished, lock = _new_locked(path, folder)
    try:
        yield unfinished
    finally:
        with contextlib.suppress(OSError):  # a disk that turned read-only: the error that says so is raised
            if os.path.lexists(unfinished):
                _remove(unfinished)
        os.close(lock)


def _new_locked(path: Path, folder: bool) -> tuple[Path, int]:
    """An empty file or folder with a random name, and the descriptor that holds its lock."""
    while True:
        new = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
        if folder:
            new.mkdir(parents=True)
        else:
            new.touch(exist_ok=False)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(new, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Another writer may have taken it for abandoned before it had its lock.
            if is_at(lock, new):
                return new, lock
            os.close(lock)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left of a file or folder that was to become `path`."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}\.partial")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if not ours.fullmatch(left.name):
            continue
        with contextlib.suppress(OSError):  # another process removed or renamed it; or it is no file of ours
            file = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if try_lock(file, fcntl.LOCK_EX):
                    _remove(left)
            finally:
                os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """As `write_json`, with the checksum of the rest under the last key, `sha256`."""
    write_json(path, {**value, "sha256": _digest(value)})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote, or an object without a checksum.

    Raises:
        RankprobeError: the file is missing, damaged, or was edited.
    """
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        if value.pop("sha256", None) not in (None, _digest(value)):
            raise ValueError("its checksum does not match: it was damaged, or edited")
    except (OSError, ValueError, RecursionError) as error:
        raise RankprobeError(f"{path} cannot be read ({error})") from None
    return value


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def sealed(raw: bytes) -> bytes:
    """A safetensors or Parquet file whose metadata has `sha256` UNSEALED, with its SHA-256 in that place."""
    return raw.replace(UNSEALED.encode(), hashlib.sha256(raw).hexdigest().encode(), 1)


def check_seal(raw: bytes, seal: str | None) -> None:
    """Make sure that the bytes are those that were sealed; a file without a seal is not of our making.

    Raises:
        ValueError: they are not.
    """
    if seal and hashlib.sha256(raw.replace(seal.encode(), UNSEALED.encode(), 1)).hexdigest() != seal:
        raise ValueError("its checksum does not match")


def checked_metadata(raw: bytes) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
        ValueError: it is no such file, or its bytes are not those that were sealed.
    """
    size = int.from_bytes(raw[:8], "little")
    metadata = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
    check_seal(raw, metadata.get("sha256"))
    return metadata


@dataclass(frozen=True)
class Covered:
    """The part of a log that a checkpoint counts on: its first `bytes` bytes.

    Attributes:
        bytes: how many.
        sha256: of these bytes; None in a checkpoint of a version that did not note it.
    """

    bytes: int
    sha256: str | None

    @classmethod
    def parse(cls, noted: Any) -> Self:
        """What a checkpoint notes of a log: a length with a checksum, or the length alone.

        Raises:
            ValueError: it is neither.
        """
        found = noted if isinstance(noted, dict) else {"bytes": noted}
        length, checksum = found.get("bytes"), found.get("sha256")
        if type(length) is not int or length < 0 or not isinstance(checksum, str | None):
            raise ValueError(f"it notes {noted!r} of a log; expected a length in bytes and a checksum")
        return cls(length, checksum)


class AppendLog:
    """A JSONL file that only grows. Each `write` is one system call of whole lines.

    Values are numbers, text, booleans or None; anything else, and NaN or infinity, is refused rather
    than turned into something that reads differently.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._length: int | None = None

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        if lines:
            self._start()
            self._file = self._file or self.path.open("ab", buffering=0)
            while lines:  # a disk that fills up takes a part; the next call then says why
                taken = self._file.write(lines)
                self._count(lines[:taken])
                lines = lines[taken:]

    def sync(self) -> Covered:
        """Force the log to disk; returns what a checkpoint has to note of it.

        Raises:
            RankprobeError: the file is not as long as what was written: it was removed or changed.
        """
        length = self._start()
        if self._file:
            os.fsync(self._file.fileno())
        found = self.path.stat().st_size if self.path.exists() else 0
        if found != length:
            raise RankprobeError(
                f"{self.path} was removed or changed while the run wrote it ({found} bytes, {length} were "
                "written); start over with --overwrite"
            )
        return Covered(length, self._digest.hexdigest())

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _start(self) -> int:
        """The length so far; the first call reads what an earlier process wrote."""
        if self._length is None:
            self._length = 0
            if self.path.exists():
                with self.path.open("rb") as file:
                    while part := file.read(CHUNK):
                        self._count(part)
        return self._length

    def _count(self, part: bytes) -> None:
        self._digest.update(part)
        self._length = (self._length or 0) + len(part)


def check_log(path: Path, covered: Covered, step: int) -> None:
    """Make sure that a log can be taken back to its checkpoint of `step`; changes nothing.

    Raises:
        RankprobeError: what the checkpoint counts on is missing or changed, and there is no whole Parquet
            file of the same name to take it from; or the log is a link to another file.
    """
    if path.is_symlink():
        raise RankprobeError(f"{path} is a link, and would be cut and written to; put the file itself there")
    if covered.bytes and not _is_whole(path, covered):
        _rows_until(path, covered, step)


def rewind(path: Path, covered: Covered, step: int) -> None:
    """Take a log that passed `check_log` back to its checkpoint; what came after will be written again.

    A log that was already compacted is made from its Parquet file again.
    """
    if covered.bytes and not _is_whole(path, covered):
        rows = _rows_until(path, covered, step)
        write_atomically(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
    elif path.exists():
        os.truncate(path, covered.bytes)


def _is_whole(path: Path, covered: Covered) -> bool:
    """Whether a log still begins with the bytes that a checkpoint counts on.

    Where no checksum was noted, a log that was compacted is taken from its Parquet file, which has one.
    """
    if not path.exists() or path.stat().st_size < covered.bytes:
        return False
    if covered.sha256 is None:
        return not path.with_suffix(".parquet").exists()
    digest, left = hashlib.sha256(), covered.bytes
    with path.open("rb") as file:
        while part := file.read(min(CHUNK, left)):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest() == covered.sha256


def _rows_until(path: Path, covered: Covered, step: int) -> list[dict[str, Any]]:
    """The rows of a log up to `step`, from the Parquet file beside it.

    A value that a row did not have is there as None: the frame of these rows is that of the original ones.

    Raises:
        RankprobeError: there is no such file, or it is damaged.
    """
    parquet = path.with_suffix(".parquet")
    if not parquet.exists():
        what = "is missing, and its checkpoint counts on it"
        if path.exists():
            short = path.stat().st_size < covered.bytes
            what = f"{'lost' if short else 'has other'} rows that its checkpoint counts on"
        raise RankprobeError(f"{path} {what}; restore it from a copy, or start over with --overwrite")
    try:
        rows = read_parquet(parquet).to_pylist()
        if max(row["step"] for row in rows) < step:
            raise RankprobeError(f"{parquet} ends before step {step}")
        return [row for row in rows if row["step"] <= step]
    except (RankprobeError, LookupError, TypeError, ValueError) as error:
        raise RankprobeError(
            f"{path} is missing or changed and {parquet.name} cannot take its place ({error}); restore one "
            "from a copy, or start over with --overwrite"
        ) from None


def read_log(path: Path) -> pd.DataFrame:
    """The frame of a log `<path>.jsonl` or, once it was compacted, `<path>.parquet`.

    A torn last line (the writer was killed, or is writing) is left out with a warning. A missing log is
    an empty frame.

    Raises:
        RankprobeError: the log is damaged.
    """
    parquet, jsonl = path.with_suffix(".parquet"), path.with_suffix(".jsonl")
    try:
        # The JSONL first: a writer removes it only when the Parquet file stands.
        *lines, tail = jsonl.read_bytes().split(b"\n")
    except FileNotFoundError:
        return read_parquet(parquet).to_pandas() if parquet.exists() else pd.DataFrame()
    if tail:
        warnings.warn(f"{jsonl}: torn last line left out", stacklevel=2)
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a row is no object")
        return pd.DataFrame(rows)
    except (ValueError, RecursionError) as error:
        raise RankprobeError(f"{jsonl} is damaged ({error})") from None


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file without pandas' way through datasets, which takes three times as long for small files.

    Raises:
        RankprobeError: the file is damaged.
    """
    try:
        raw = path.read_bytes()
        with ParquetFile(pa.BufferReader(raw)) as file:
            check_seal(raw, (file.metadata.metadata or {}).get(b"sha256", b"").decode())
            return file.read(use_threads=False).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RankprobeError(f"{path} is damaged ({error})") from None


def last_row(path: Path) -> dict[str, Any]:
    """The last whole line of the log `<path>.jsonl`, without reading the rest; empty if there is none."""
    try:
        with path.with_suffix(".jsonl").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            whole = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return {}
    row = json.loads(whole[-1]) if whole else {}
    if not isinstance(row, dict):
        raise ValueError("its last row is no object")
    return row


def compact(path: Path) -> None:
    """Turn the log `<path>.jsonl` into `<path>.parquet`; repeating it after a kill does no harm."""
    jsonl = path.with_suffix(".jsonl")
    if jsonl.exists():
        write_atomically(path.with_suffix(".parquet"), _parquet(read_log(path)))
        jsonl.unlink()


def _parquet(log: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(log, preserve_index=False)
    file = pa.BufferOutputStream()
    write_table(table.replace_schema_metadata({"sha256": UNSEALED}), file)
    return sealed(file.getvalue().to_pybytes())
