"""Rows of a file, whatever its format, each with a name that an error can point at."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.hub import first_line
from rankprobe.lfs import check_lfs

NamedRow = tuple[str, object]
"""Where the row stands (`file:line`), and the row."""


def read_rows(path: Path, labels: Sequence[str] = ()) -> Iterator[NamedRow]:
    """The rows of a JSONL, CSV or Parquet file.

    Args:
        path: its suffix decides.
        labels: what class ids must stand for, where a Parquet file says so itself.

    Raises:
        RankprobeError: an unknown format, a Git LFS pointer, or a file that is not in its format; with file
            and line.
    """
    if path.suffix not in READERS:
        raise RankprobeError(f"{path}: unknown format; expected one of {', '.join(READERS)}")
    check_lfs(path)
    return READERS[path.suffix](path, labels)


def _jsonl(path: Path, labels: Sequence[str]) -> Iterator[NamedRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield f"{path}:{number}", json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
                raise RankprobeError(f"{path}:{number}: not a line of JSON in UTF-8 ({error})") from None


def _csv(path: Path, labels: Sequence[str]) -> Iterator[NamedRow]:
    with path.open("rb") as lines:
        reader = csv.DictReader(_decoded(path, lines), strict=True)
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise RankprobeError(f"{where}: not as many columns as the header has")
                yield where, row
        except csv.Error as error:
            raise RankprobeError(f"{path}:{reader.reader.line_num}: not CSV in UTF-8 ({error})") from None


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    """Decoded line by line, so that an error can name its line."""
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RankprobeError(f"{path}:{number}: not CSV in UTF-8 ({error})") from None
        if "\0" in text:
            raise RankprobeError(f"{path}:{number}: not CSV in UTF-8 (it has a NUL byte)")
        yield text


def _parquet(path: Path, labels: Sequence[str]) -> Iterator[NamedRow]:
    from datasets import Features
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        label = Features.from_arrow_schema(file.schema_arrow).get("label")
        names = tuple(getattr(label, "names", None) or labels)
        if names != tuple(labels):
            raise RankprobeError(f"{path}: class ids stand for {names}; expected {tuple(labels)}")
        number = 0
        for batch in file.iter_batches(1000):
            for row in batch.to_pylist():
                yield f"{path} row {number}", row
                number += 1
    except (ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise RankprobeError(f"{path}: cannot be read as Parquet ({first_line(error)})") from None


READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[NamedRow]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
