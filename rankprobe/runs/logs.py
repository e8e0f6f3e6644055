"""Logs of a run: JSONL files that only grow while the run goes on, and Parquet files after its end."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
from pandas.api.types import is_numeric_dtype
from pyarrow.parquet import ParquetFile, write_table

from rankprobe.errors import RankprobeError
from rankprobe.lfs import check_lfs
from rankprobe.runs.checksums import PLACEHOLDER, verify_checksum, with_checksum
from rankprobe.runs.files import write_atomically

TAIL_BYTES = 2**16
"""Bytes at the end of a log that are read to find its last row; rows are much shorter."""

TEXTS = ("matrix", "split", "metric", "scoring")
"""Columns of logs that hold texts; all others hold numbers."""

CHUNK_BYTES = 2**20
"""Bytes that are read at once to compute a checksum."""


@dataclass(frozen=True)
class LogPrefix:
    """The part of a log that a checkpoint relies on: its first `bytes` bytes.

    Attributes:
        bytes: the length of this part.
        sha256: its checksum; None in checkpoints of early versions, which did not save it.
    """

    bytes: int
    sha256: str | None

    @classmethod
    def parse(cls, saved: Any) -> LogPrefix:
        """Read the entry of a checkpoint for one log: a length with a checksum, or the length alone.

        Raises:
            ValueError: `saved` has another form.
        """
        fields = saved if isinstance(saved, dict) else {"bytes": saved}
        length, checksum = fields.get("bytes"), fields.get("sha256")
        if type(length) is not int or length < 0 or not isinstance(checksum, str | None):
            raise ValueError(
                f"it has {saved!r} as the state of a log; expected a length in bytes and a checksum"
            )
        return cls(length, checksum)


class AppendLog:
    """A JSONL file that only grows. Each `write` is one system call of whole lines.

    Values are numbers, text, booleans or None. NaN and infinity raise a ValueError, and types outside JSON
    raise a TypeError, because they would read back as something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._length: int | None = None

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
        if lines:
            self._read_existing()
            self._file = self._file or self.path.open("ab", buffering=0)
            before, digest = self._length or 0, self._digest.copy()
            try:
                while lines:  # if the disk becomes full, a call writes only a part, and the next one raises
                    n_written = self._file.write(lines)
                    self._count(lines[:n_written])
                    lines = lines[n_written:]
            except OSError:
                self._length, self._digest = before, digest
                os.ftruncate(self._file.fileno(), before)  # no part of a line stays
                raise

    def sync(self) -> LogPrefix:
        """Force the log to disk; return the length and checksum for a checkpoint.

        Raises:
            RankprobeError: the file does not have the length that was written: it was removed or changed.
        """
        length = self._read_existing()
        if self._file:
            os.fsync(self._file.fileno())
        length_on_disk = self.path.stat().st_size if self.path.exists() else 0
        if length_on_disk != length:
            raise RankprobeError(
                f"{self.path} was removed or changed while the run wrote it ({length_on_disk} bytes, "
                f"{length} were written); start over with --overwrite"
            )
        return LogPrefix(length, self._digest.hexdigest())

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _read_existing(self) -> int:
        """Return the length so far; the first call reads the part that an earlier process wrote."""
        if self._length is None:
            self._length = 0
            if self.path.exists():
                with self.path.open("rb") as file:
                    while chunk := file.read(CHUNK_BYTES):
                        self._count(chunk)
        return self._length

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._length = (self._length or 0) + len(chunk)


def check_log(path: Path, prefix: LogPrefix, step: int) -> None:
    """Check that a log can be taken back to its checkpoint of `step`; no file is changed.

    Raises:
        RankprobeError: the part that the checkpoint relies on is missing or changed, and cannot be restored
            from a Parquet file of the same name; or the log is a symbolic link.
    """
    if path.is_symlink():
        raise RankprobeError(
            f"{path} is a symbolic link, and rankprobe would change the file it links to; put the file "
            "itself there"
        )
    if prefix.bytes and not _starts_with(path, prefix):
        _rows_until(path, prefix, step)


def rewind(path: Path, prefix: LogPrefix, step: int) -> None:
    """Remove the rows after the checkpoint from a log that passed `check_log`.

    A log that was already compacted is restored from its Parquet file.
    """
    if prefix.bytes and not _starts_with(path, prefix):
        rows = _rows_until(path, prefix, step)
        write_atomically(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
    elif path.exists():
        os.truncate(path, prefix.bytes)


def _starts_with(path: Path, prefix: LogPrefix) -> bool:
    """Return whether a log still starts with the bytes that a checkpoint relies on.

    If the checkpoint has no checksum, the result is False for a compacted log, whose Parquet file has one.
    """
    if not path.exists() or path.stat().st_size < prefix.bytes:
        return False
    if prefix.sha256 is None:
        return not path.with_suffix(".parquet").exists()
    digest, n_left = hashlib.sha256(), prefix.bytes
    with path.open("rb") as file:
        while chunk := file.read(min(CHUNK_BYTES, n_left)):
            digest.update(chunk)
            n_left -= len(chunk)
    return digest.hexdigest() == prefix.sha256


def _rows_until(path: Path, prefix: LogPrefix, step: int) -> list[dict[str, Any]]:
    """Return the rows of a log up to `step` from its Parquet file.

    A missing value of a row is None, so the data frame of these rows equals the original one.

    Raises:
        RankprobeError: the Parquet file does not exist, or is damaged.
    """
    parquet = path.with_suffix(".parquet")
    if not parquet.exists():
        problem = "is missing, and its checkpoint relies on it"
        if path.exists():
            is_short = path.stat().st_size < prefix.bytes
            problem = f"{'lost' if is_short else 'has other'} rows that its checkpoint relies on"
        raise RankprobeError(f"{path} {problem}; restore it from a copy, or start over with --overwrite")
    try:
        rows = read_parquet(parquet).to_pylist()
        if max(row["step"] for row in rows) < step:
            raise RankprobeError(f"{parquet} ends before step {step}")
        return [row for row in rows if row["step"] <= step]
    except (RankprobeError, LookupError, TypeError, ValueError) as error:
        raise RankprobeError(
            f"{path} is missing or changed and {parquet.name} cannot replace it ({error}); restore one "
            "from a copy, or start over with --overwrite"
        ) from None


def read_log(path: Path) -> pd.DataFrame:
    """Read a log from `<path>.jsonl` or, after compaction, from `<path>.parquet`.

    An incomplete last line (its writer was killed, or is still writing) is left out with a warning. A missing
    log gives an empty frame.

    Raises:
        RankprobeError: the log is damaged.
    """
    parquet, jsonl = path.with_suffix(".parquet"), path.with_suffix(".jsonl")
    try:
        # The JSONL file first: a writer removes it only after the Parquet file is complete.
        *lines, incomplete = jsonl.read_bytes().split(b"\n")
    except FileNotFoundError:
        return read_parquet(parquet).to_pandas() if parquet.exists() else pd.DataFrame()
    if incomplete:
        warnings.warn(f"{jsonl}: incomplete last line left out", stacklevel=2)
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a row is not a JSON object")
        frame = pd.DataFrame(rows)
        for name, kind in frame.dtypes.items():
            if name in TEXTS or not is_numeric_dtype(kind):
                _check_values(str(name), frame[name].dropna())
        return frame
    except (ValueError, RecursionError) as error:
        check_lfs(jsonl)
        raise RankprobeError(f"{jsonl} is damaged ({error})") from None


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file and check its checksum.

    `pandas.read_parquet` reads through pyarrow's datasets, which takes three times as long for small files.

    Raises:
        RankprobeError: the file is damaged.
    """
    try:
        raw = path.read_bytes()
        with ParquetFile(pa.BufferReader(raw)) as file:
            verify_checksum(raw, (file.metadata.metadata or {}).get(b"sha256", b"").decode())
            return file.read(use_threads=False).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError) as error:
        check_lfs(path)
        raise RankprobeError(f"{path} is damaged ({error})") from None


def last_row(path: Path) -> dict[str, Any]:
    """Return the last complete row of `<path>.jsonl` without reading the whole file; {} if there is none."""
    try:
        with path.with_suffix(".jsonl").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return {}
    row = json.loads(lines[-1]) if lines else {}
    if not isinstance(row, dict):
        raise ValueError("its last row is not a JSON object")
    for name, value in row.items():
        _check_values(name, [value])
    return row


def _check_values(column: str, values: Iterable[Any]) -> None:
    """Check that a column of a log holds numbers or, in a column of texts, texts; None is a missing value.

    Raises:
        ValueError: it does not.
    """
    kind = str if column in TEXTS else int | float
    for value in values:
        if value is not None and not isinstance(value, kind):
            wanted = "a text" if column in TEXTS else "a number"
            raise ValueError(f"'{column}' has the type {type(value).__name__}, not {wanted}")


def compact(path: Path) -> None:
    """Convert the log `<path>.jsonl` to `<path>.parquet`; if it is killed, it can be called again."""
    jsonl = path.with_suffix(".jsonl")
    if jsonl.exists():
        table = pa.Table.from_pandas(read_log(path), preserve_index=False)
        file = pa.BufferOutputStream()
        write_table(table.replace_schema_metadata({"sha256": PLACEHOLDER}), file)
        write_atomically(path.with_suffix(".parquet"), with_checksum(file.getvalue().to_pybytes()))
        jsonl.unlink()
