"""Rows of a file, whatever its format, each with a name that an error can point at."""

from __future__ import annotations

import csv
import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from rankprobe.errors import RankprobeError
from rankprobe.hub import first_line
from rankprobe.lfs import check_lfs
from rankprobe.tasks.base import Task, shown

NamedRow = tuple[str, object]
"""Where the row stands (`file:line`), and the row."""

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What can stand between the columns of a CSV file. Excel writes `;` where the comma is the decimal mark."""

SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
"""A first line that names the separator, for Excel."""

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

LONGEST_FIELD = 2**31 - 1
"""Characters in one CSV field; Python's own limit of 131,072 is less than a long document."""

ADVICE = "save it as UTF-8"

ARROW_FILE = b"ARROW1"
"""The first bytes of an Arrow file; an Arrow stream has others."""


def read_rows(path: Path, task: Task | None = None) -> Iterator[NamedRow]:
    """The rows of a JSONL, JSON, CSV, Parquet or Arrow file.

    Args:
        path: its suffix decides.
        task: whose rows they are; its fields help to recognise the separator of a CSV file, and it decides
            what class ids with names stand for.

    Raises:
        RankprobeError: an unknown format, a Git LFS pointer, or a file that is not in its format; with file
            and line.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise RankprobeError(f"{path}: unknown format; expected one of {', '.join(READERS)}")
    check_lfs(path)
    return reader(path, task)


def text_lines(file: BinaryIO) -> Iterator[str]:
    """The lines of a text in UTF-8, or in UTF-16 that begins with its byte order mark; without the mark.

    Raises:
        UnicodeDecodeError: neither of them; in UTF-8 when the wrong line is reached.
    """
    first = file.readline()
    if first.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        try:
            text = (first + file.read()).decode("utf-16")
        except UnicodeDecodeError:
            text = first.decode("utf-8")  # raises the error of UTF-8, which is what is asked for
        yield from re.findall(r"[^\n]*\n|[^\n]+", text)
    else:
        for line in chain([first] if first else [], file):
            yield line.decode("utf-8-sig")


def _jsonl(path: Path, task: Task | None) -> Iterator[NamedRow]:
    number = 0
    with path.open("rb") as file:
        try:
            for number, line in enumerate(text_lines(file), start=1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)
        except UnicodeDecodeError as error:
            raise RankprobeError(
                f"{path}:{number + 1}: not a line of JSON in UTF-8 ({error}); {ADVICE}"
            ) from None
        except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
            raise RankprobeError(f"{path}:{number}: not a line of JSON in UTF-8 ({error})") from None


def _json(path: Path, task: Task | None) -> Iterator[NamedRow]:
    """A list of rows, or a row on each line as `Dataset.to_json` writes them."""
    try:
        with path.open("rb") as file:
            text = "".join(text_lines(file))
        rows = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError) as error:
        raise RankprobeError(f"{path}: not JSON in UTF-8 ({error})") from None
    if rows is None:
        yield from _jsonl(path, task)
    else:
        yield from ((f"{path} row {number}", row) for number, row in enumerate(rows))


def _csv(path: Path, task: Task | None) -> Iterator[NamedRow]:
    """Rows under a header. Rows of empty cells alone, as spreadsheets leave them at the end, are left out."""
    csv.field_size_limit(LONGEST_FIELD)
    with path.open("rb") as file:
        lines = _csv_lines(path, file)
        above, header, separator = _header(lines)
        if not header:
            return
        needed = (*task.fields, task.label_field) if task else ()
        separator = separator or _separator(header, needed, f"{path}:{above + 1}")
        first = next(lines, "")
        blanks = _after_blanks(header, separator) or (' "' in first and _after_blanks(first, separator))
        reader = csv.reader(
            chain([header, first], lines), delimiter=separator, skipinitialspace=blanks, strict=True
        )
        begin = above
        try:
            names = _names(next(reader), needed, f"{path}:{above + 1}")
            while True:
                begin = above + reader.line_num
                cells = next(reader, None)
                if cells is None:
                    return
                if any(cell.strip() for cell in cells):
                    where = f"{path}:{above + reader.line_num}"
                    yield where, _row(names, cells, separator, where)
        except csv.Error as error:
            raise RankprobeError(f"{path}:{begin + 1}: not CSV in UTF-8 ({error})") from None


def _csv_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """Lines that end in any of the three ways, so that an error can name its line."""
    number = 0
    try:
        for text in text_lines(file):
            if "\0" in text:
                raise RankprobeError(f"{path}:{number + 1}: not CSV in UTF-8 (it has a NUL byte); {ADVICE}")
            for line in LINE.findall(text):
                number += 1
                yield line
    except UnicodeDecodeError as error:
        raise RankprobeError(f"{path}:{number + 1}: not CSV in UTF-8 ({error}); {ADVICE}") from None


def _header(lines: Iterator[str]) -> tuple[int, str, str]:
    """The number of lines above the header, the header, and the separator if a line above names it."""
    separator = ""
    for above, line in enumerate(lines):
        if not separator and (named := SEPARATOR_LINE.fullmatch(line)):
            separator = named[1]
        elif line.strip():
            return above, line, separator
    return 0, "", ""


def _separator(header: str, needed: Sequence[str], where: str) -> str:
    """The separator with which the header has most of the needed columns, then most columns.

    Raises:
        RankprobeError: none of them separates the header, and it is not the one needed column.
    """

    def columns(separator: str) -> list[str]:
        return [name.strip() for name in _cells(header, separator)]

    def fit(separator: str) -> tuple[int, int]:
        return len(set(needed) & set(columns(separator))), len(columns(separator))

    best = max(SEPARATORS, key=fit)
    if len(columns(best)) == 1 and not set(needed) <= set(columns(best)):
        raise RankprobeError(
            f"{where}: the first line is {shown(header.strip())}; expected the columns "
            f"{', '.join(dict.fromkeys(needed))} with a {', '.join(SEPARATORS.values())} between them"
        )
    return best


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])


def _after_blanks(line: str, separator: str) -> bool:
    """Whether a blank follows each separator."""
    cells = next(csv.reader([line], delimiter=separator), [])[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _names(header: Sequence[str], needed: Sequence[str], where: str) -> list[str]:
    """The columns, without those at the end that have no name.

    Raises:
        RankprobeError: a needed column comes twice.
    """
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    for name in needed:
        if names.count(name) > 1:
            raise RankprobeError(
                f"{where}: the header has '{name}' {names.count(name)} times; rename the others"
            )
    return names


def _row(names: Sequence[str], cells: Sequence[str], separator: str, where: str) -> dict[str, str]:
    if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
        raise RankprobeError(
            f"{where}: not as many columns as the header has: {len(cells)}, and the header {len(names)}, "
            f"with a {SEPARATORS.get(separator, repr(separator))} between them"
        )
    return dict(zip(names, cells, strict=False))


def _parquet(path: Path, task: Task | None) -> Iterator[NamedRow]:
    from pyarrow import parquet

    def opened() -> tuple[Any, Iterable[Any]]:
        file = parquet.ParquetFile(path)
        return file.schema_arrow, file.iter_batches(1000)

    return _batches(path, "Parquet", opened, task)


def _arrow(path: Path, task: Task | None) -> Iterator[NamedRow]:
    """What `save_to_disk` of datasets writes (Arrow's stream), and Arrow's own files."""
    import pyarrow as pa

    def checked(batch: Any) -> Any:
        batch.validate(full=True)  # a damaged file could else point outside the memory
        return batch

    def opened() -> tuple[Any, Iterable[Any]]:
        content = pa.memory_map(str(path))
        if content.read(len(ARROW_FILE)) == ARROW_FILE:
            file = pa.ipc.open_file(content)
            return file.schema, (checked(file.get_batch(i)) for i in range(file.num_record_batches))
        content.seek(0)
        stream = pa.ipc.open_stream(content)
        return stream.schema, map(checked, stream)

    return _batches(path, "Arrow", opened, task)


def _batches(
    path: Path, kind: str, opened: Callable[[], tuple[Any, Iterable[Any]]], task: Task | None
) -> Iterator[NamedRow]:
    """The rows of Arrow batches; a class id that has a name in the file gives way to it."""
    from pyarrow import ArrowException

    number = 0
    try:
        schema, batches = opened()
        features = _classes(path, schema, task)
        for batch in batches:
            for row in batch.to_pylist():
                yield (
                    f"{path} row {number}",
                    {key: _named(features.get(key), value) for key, value in row.items()},
                )
                number += 1
    except (ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise RankprobeError(f"{path}: cannot be read as {kind} ({first_line(error)})") from None


def _classes(path: Path, schema: Any, task: Task | None) -> dict[str, Any]:
    """The features of datasets by column; class names as the task wants them where it is its label."""
    from datasets import ClassLabel, Features

    try:
        features = dict(Features.from_arrow_schema(schema))
    except (LookupError, TypeError, AttributeError, NotImplementedError) as error:  # damaged metadata
        raise ValueError(f"its features: {first_line(error)}") from None
    label = features.get(task.label_field) if task else None
    if task and isinstance(label, ClassLabel):
        names = task.class_names(label.names, str(path))
        features[task.label_field] = ClassLabel(names=list(names))
    return features


def _named(feature: Any, value: object) -> object:
    """The value with names in place of class ids, also within lists and objects."""
    from datasets import ClassLabel

    if isinstance(feature, ClassLabel):
        names = list(feature.names)
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
    if isinstance(value, list):
        return [_named(getattr(feature, "feature", None), each) for each in value]
    if isinstance(value, dict) and isinstance(feature, Mapping):
        return {key: _named(feature.get(key), each) for key, each in value.items()}
    return value


READERS: dict[str, Callable[[Path, Task | None], Iterator[NamedRow]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
    ".tsv": _csv,
    ".json": _json,
    ".arrow": _arrow,
}
