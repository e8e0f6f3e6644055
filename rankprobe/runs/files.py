"""Files that are never half-written, and tell when they were damaged.

Whole files are written aside, renamed, and carry a checksum; logs only grow.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile, write_table

from rankprobe.errors import RankprobeError
from rankprobe.lfs import check_lfs

TAIL = 2**16
"""Bytes read to find the last row of a log; rows are far shorter."""

UNSEALED = "0" * 64
"""What stands in a file in place of its SHA-256 while that is computed."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a reader, or a kill at any instant, finds the old file or the new."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        aside.unlink(missing_ok=True)  # it may be a link that a stranger's folder brought along
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


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
        check_lfs(path)
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


class AppendLog:
    """A JSONL file that only grows. Each `write` is one system call of whole lines.

    Values are numbers, text, booleans or None; anything else, and NaN or infinity, is refused rather
    than turned into something that reads differently.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        if lines:
            self._file = self._file or self.path.open("ab", buffering=0)
            while lines:  # a disk that fills up takes a part; the next call then says why
                lines = lines[self._file.write(lines) :]

    def sync(self) -> int:
        """Force the log to disk; returns its length in bytes, to be kept in a checkpoint."""
        if self._file:
            os.fsync(self._file.fileno())
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


def rewind(path: Path, length: int) -> None:
    """Cut a log back to the length it had at a checkpoint; what came after will be written again.

    A log that was already compacted has nothing after its last checkpoint.

    Raises:
        RankprobeError: the log is shorter than at the checkpoint, or a link to another file.
    """
    if path.is_symlink():
        raise RankprobeError(f"{path} is a link, and would be cut and written to; put the file itself there")
    if not path.exists():
        return
    if path.stat().st_size < length:
        raise RankprobeError(f"{path} lost rows that its checkpoint counts on; start over with --overwrite")
    os.truncate(path, length)


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
        check_lfs(jsonl)
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
        check_lfs(path)
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
