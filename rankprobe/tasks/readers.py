"""Read the rows of a file in any supported format; each row has a name for error messages."""

from __future__ import annotations

import csv
import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from rankprobe.errors import RankprobeError, first_line
from rankprobe.lfs import check_lfs
from rankprobe.tasks.base import Task, short_repr

NamedRow = tuple[str, object]
"""The position of a row in its file (`file:line` or `file row number`), and the row."""

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""The column separators of CSV files. Excel writes `;` in countries with a decimal comma."""

SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
"""A first line that names the separator, as Excel writes and reads it."""

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

MAX_FIELD_SIZE = 2**31 - 1
"""Maximum characters of a CSV field. Python's default of 131,072 is too small for long documents."""

ADVICE = "save it as UTF-8"
"""The end of an error about the encoding."""

ARROW_FILE = b"ARROW1"
"""The first bytes of an Arrow file. An Arrow stream starts with other bytes."""


def read_rows(path: Path, task: Task | None = None) -> Iterator[NamedRow]:
    """The rows of a JSONL, JSON, CSV, Parquet or Arrow file.

    Args:
        path: the file; its suffix gives the format.
        task: the task of the rows. The separator of a CSV file is recognised by the fields of the task.
            `Task.class_names` gives the labels of a Parquet or Arrow file that names its classes.

    Raises:
        RankprobeError: the format is unknown, the file is a Git LFS pointer, or it is malformed (the message
            names file and line).
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise RankprobeError(f"{path}: unknown format; expected one of {', '.join(READERS)}")
    check_lfs(path)
    return reader(path, task)


def text_lines(file: BinaryIO) -> Iterator[str]:
    """The lines of a text in UTF-8, or in UTF-16 with a byte order mark; the mark is removed.

    Raises:
        UnicodeDecodeError: the encoding is neither; UTF-8 is checked line by line.
    """
    first = file.readline()
    if first.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        try:
            text = (first + file.read()).decode("utf-16")
        except UnicodeDecodeError:
            text = first.decode("utf-8")  # raises the error for UTF-8, the expected encoding
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
        except (ValueError, RecursionError) as error:  # ValueError: also for a number with too many digits
            raise RankprobeError(f"{path}:{number}: not a line of JSON in UTF-8 ({error})") from None


def _json(path: Path, task: Task | None) -> Iterator[NamedRow]:
    """The rows of a JSON list, or one row per line as written by `Dataset.to_json`."""
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
    """The rows below the header, without empty rows, which spreadsheets write at the end."""
    csv.field_size_limit(MAX_FIELD_SIZE)
    with path.open("rb") as file:
        lines = _csv_lines(path, file)
        n_above, header, separator = _header(lines)
        if not header:
            return
        needed = (*task.fields, task.label_field) if task else ()
        separator = separator or _separator(header, needed, f"{path}:{n_above + 1}")
        first = next(lines, "")
        # Some files separate cells by a separator and a blank: `a, "b"`.
        blanks = _blank_after_separator(header, separator) or (
            ' "' in first and _blank_after_separator(first, separator)
        )
        reader = csv.reader(
            chain([header, first], lines), delimiter=separator, skipinitialspace=blanks, strict=True
        )
        row_start = n_above + 1
        try:
            names = _column_names(next(reader), needed, f"{path}:{row_start}")
            row_start = n_above + reader.line_num + 1
            for cells in reader:
                where = f"{path}:{n_above + reader.line_num}"
                if any(cell.strip() for cell in cells):
                    yield where, _row(names, cells, separator, where)
                row_start = n_above + reader.line_num + 1
        except csv.Error as error:
            raise RankprobeError(f"{path}:{row_start}: not CSV in UTF-8 ({error})") from None


def _csv_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """The lines of a file, each with its end (CRLF, CR or LF); an error about the text names its line."""
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
    """The number of lines above the header, the header, and the separator if a line above it names one."""
    separator = ""
    for n_above, line in enumerate(lines):
        if not separator and (named := SEPARATOR_LINE.fullmatch(line)):
            separator = named[1]
        elif line.strip():
            return n_above, line, separator
    return 0, "", ""


def _separator(header: str, needed: Sequence[str], where: str) -> str:
    """The separator that gives the most needed columns in the header, then the most columns.

    Raises:
        RankprobeError: no separator splits the header, and the header is not the only needed column.
    """
    columns: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        columns[separator] = [cell.strip() for cell in cells]
    best = max(columns, key=lambda each: (len(set(needed) & set(columns[each])), len(columns[each])))
    if len(columns[best]) == 1 and not set(needed) <= set(columns[best]):
        raise RankprobeError(
            f"{where}: the first line is {short_repr(header.strip())}; expected the columns "
            f"{', '.join(dict.fromkeys(needed))}, separated by {', '.join(SEPARATORS.values())}"
        )
    return best


def _blank_after_separator(line: str, separator: str) -> bool:
    """Whether a blank follows each separator of the line."""
    cells = next(csv.reader([line], delimiter=separator), [])[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _column_names(header: Sequence[str], needed: Sequence[str], where: str) -> list[str]:
    """The column names; empty names at the end are left out.

    Raises:
        RankprobeError: a needed column occurs more than once.
    """
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    for name in needed:
        if names.count(name) > 1:
            raise RankprobeError(
                f"{where}: the header has '{name}' {names.count(name)} times; rename all but one"
            )
    return names


def _row(names: Sequence[str], cells: Sequence[str], separator: str, where: str) -> dict[str, str]:
    if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
        raise RankprobeError(
            f"{where}: the row has {len(cells)} columns, but the header has {len(names)} (separator: "
            f"{SEPARATORS.get(separator, repr(separator))})"
        )
    return dict(zip(names, cells, strict=False))


def _open_parquet(path: Path) -> tuple[Any, Iterable[Any]]:
    """The schema and the batches of a Parquet file."""
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    return file.schema_arrow, file.iter_batches(1000)


def _open_arrow(path: Path) -> tuple[Any, Iterable[Any]]:
    """The schema and the batches of an Arrow stream (as written by `save_to_disk`) or of an Arrow file."""
    import pyarrow as pa

    def validated(batch: Any) -> Any:
        batch.validate(full=True)  # without this, a damaged file could cause reads outside its memory
        return batch

    content = pa.memory_map(str(path))
    if content.read(len(ARROW_FILE)) == ARROW_FILE:
        file = pa.ipc.open_file(content)
        return file.schema, (validated(file.get_batch(i)) for i in range(file.num_record_batches))
    content.seek(0)
    stream = pa.ipc.open_stream(content)
    return stream.schema, map(validated, stream)


def _columnar(
    open_file: Callable[[Path], tuple[Any, Iterable[Any]]], file_format: str, path: Path, task: Task | None
) -> Iterator[NamedRow]:
    """The rows of a Parquet or Arrow file. Class ids become names if the file names its classes."""
    from pyarrow import ArrowException

    number = 0
    try:
        schema, batches = open_file(path)
        features = _features(path, schema, task)
        for batch in batches:
            for row in batch.to_pylist():
                yield (
                    f"{path} row {number}",
                    {key: _with_names(features.get(key), value) for key, value in row.items()},
                )
                number += 1
    except (ArrowException, OSError, ValueError) as error:  # ValueError: text is not UTF-8
        raise RankprobeError(f"{path}: cannot be read as {file_format} ({first_line(error)})") from None


def _features(path: Path, schema: Any, task: Task | None) -> dict[str, Any]:
    """The type of each column (`datasets.Features`); `Task.class_names` gives the names of the label column.

    Raises:
        ValueError: the metadata of the file is damaged.
    """
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


def _with_names(feature: Any, value: object) -> object:
    """The value with class ids replaced by names, also inside lists and objects."""
    from datasets import ClassLabel

    if isinstance(feature, ClassLabel):
        names = list(feature.names)
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
    if isinstance(value, list):
        return [_with_names(getattr(feature, "feature", None), each) for each in value]
    if isinstance(value, dict) and isinstance(feature, Mapping):
        return {key: _with_names(feature.get(key), each) for key, each in value.items()}
    return value


READERS: dict[str, Callable[[Path, Task | None], Iterator[NamedRow]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": partial(_columnar, _open_parquet, "Parquet"),
    ".tsv": _csv,
    ".json": _json,
    ".arrow": partial(_columnar, _open_arrow, "Arrow"),
}
