"""Where the rows of a task come from: bundled data, the hub, a folder, or the files of a custom task."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rankprobe import bundled
from rankprobe.errors import RankprobeError
from rankprobe.hub import from_hub
from rankprobe.logger import log
from rankprobe.tasks.base import Example, Task
from rankprobe.tasks.readers import READERS, NamedRow, read_rows

SPLITS = {"train": ("train",), "validation": ("val", "validation")}
"""File names of each split, in the official release and on the hub. Test labels are not public."""

HUB_ID = "aps/super_glue"
HUB_REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"
"""The commit with the Parquet files of SuperGLUE. It is fixed, so later runs need no network."""

BUNDLED_SPLITS = {"bundled": SPLITS, "bundled-500": {**SPLITS, "validation": ("val500",)}}
"""File names of the miniatures; `bundled-500` has about 500 validation rows, so dev scores vary less."""

PLACES = (*BUNDLED_SPLITS, "hub")
"""Values of `data` other than a folder."""

PART_NUMBER = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]+)?")
"""The end of the name of one part, if a split is stored in several files, as on the hub."""

SAVED_STEM = "data"
"""The name of the files that `save_to_disk` of datasets writes into the folder of a split."""


@dataclass(frozen=True)
class Split:
    """The examples of one split and their origin.

    Attributes:
        task: the task of the examples.
        name: `train` or `validation`.
        source: `bundled`, `hub`, `folder` or `file`.
        origin: the file, or the hub id and revision.
        examples: in the order of the file.
    """

    task: Task
    name: str
    source: str
    origin: str
    examples: list[Example]

    @property
    def label(self) -> str:
        """The name of the data in tables and messages; bundled data is called a miniature."""
        return f"miniature {self.task.title}" if self.source == "bundled" else self.task.title

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the examples in order, as a hexadecimal string."""
        digest = hashlib.sha256()
        for e in self.examples:
            content = [sorted(e.fields.items()), e.label, e.answers, e.candidates, e.group]
            digest.update(json.dumps(content).encode())
        return digest.hexdigest()


def load_split(task: Task, split: str, data: str | None) -> Split:
    """Load one split.

    Args:
        task: a built-in or custom task.
        split: `train` or `validation`.
        data: one of
            - `bundled`, the miniature of the task, or `bundled-500`, with a longer validation split;
            - `hub`, `aps/super_glue` at a fixed commit;
            - a folder with the official JSONL or the hub's columns, in any format of `readers`
              (`<folder>/CB/train.jsonl`, or the folder `CB` itself), a folder downloaded from the hub, or a
              folder written by `save_to_disk` of datasets. It replaces the files of a custom task;
            - None: the files that a custom task names.

    Raises:
        RankprobeError: the folder or file does not exist, the hub cannot be reached, a row is malformed (the
            message names file and line), there are no rows, or several files could be the split.
    """
    if data == "hub":
        source, origin, rows = "hub", f"{HUB_ID}@{HUB_REVISION}", _hub_rows(task, split)
    else:
        source, paths = _split_files(task, split, data)
        origin = str(paths[0]) + (f" and {len(paths) - 1} more parts" if len(paths) > 1 else "")
        rows = (row for path in paths for row in read_rows(path, task))
    examples = [example for where, row in rows for example in task.examples(row, where)]
    if not examples:
        raise RankprobeError(f"{origin}: no rows; expected {task.title} examples")
    log.info("read %d %s rows of %s from %s", len(examples), split, task.title, origin)
    return Split(task, split, source, origin, examples)


def _split_files(task: Task, split: str, data: str | None) -> tuple[str, list[Path]]:
    """`Split.source` (`bundled`, `folder` or `file`) and the files of a split."""
    if task.files and (data is None or data in BUNDLED_SPLITS):
        path = task.files[split]
        paths = [path] if path.is_file() else _parts(path, SAVED_STEM)
        paths = paths or find_files([path], SPLITS[split]) or find_files([path.parent], [path.name])
        if not paths:
            raise RankprobeError(f"{path}: no such file; task '{task.name}' names it for its {split} rows")
        return "file", paths
    if data is None:
        raise RankprobeError(f"no data for {task.title}; give 'bundled', 'bundled-500', 'hub', or a folder")
    root = bundled.FOLDER if data in BUNDLED_SPLITS else Path(data)
    stems = BUNDLED_SPLITS.get(data, SPLITS)[split]
    name = f"{stems[0]}.jsonl"
    if not root.is_dir():
        raise RankprobeError(
            f"data '{root}' is not a folder; give 'bundled', 'bundled-500', 'hub', or a folder that holds "
            f"{task.folder}/{name}"
        )
    # The hub's name comes first: the hub has wsc.fixed, and an older wsc with other rows.
    folders = [task.hub_name, task.folder, task.name, "", SAVED_STEM]
    paths = find_files((root / folder for folder in folders if folder is not None), stems)
    if not paths:
        raise RankprobeError(
            f"no {name} for {task.title} in '{root}'; expected {root / task.folder / name}, "
            f"the layout of the official SuperGLUE release (also as {', '.join(READERS)}), the hub's layout, "
            "or a save_to_disk folder"
        )
    return "bundled" if bundled.FOLDER in paths[0].parents else "folder", paths


def find_files(folders: Iterable[Path], stems: Iterable[str]) -> list[Path]:
    """The files of a split, one file or all parts in order, from the first folder that contains the split.

    Args:
        folders: where to look, in this order.
        stems: possible file names without suffix.

    Returns:
        The files; empty if no folder contains the split.

    Raises:
        RankprobeError: a folder contains the split more than once, or not all its parts.
    """
    stems = list(stems)
    for folder in folders:
        single = [folder / f"{stem}{suffix}" for stem in stems for suffix in READERS]
        matches = [[path] for path in single if path.is_file()]
        matches += [parts for stem in stems if (parts := _parts(folder, stem))]
        matches += [parts for stem in stems if (parts := _parts(folder / stem, SAVED_STEM))]
        if len(matches) > 1:
            names = " and ".join(str(paths[0].relative_to(folder)) for paths in matches)
            raise RankprobeError(f"'{folder}' has {names}, and each could be the split; keep one of them")
        if matches:
            return matches[0]
    return []


def _parts(folder: Path, stem: str) -> list[Path]:
    """The files `stem-00000-of-00003.parquet`, … of a folder, in order; empty if there are none.

    Raises:
        RankprobeError: a part is missing, or the folder has parts of several sets.
    """
    parts: dict[tuple[int, int, str], Path] = {}  # by number, number of parts, and suffix
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = PART_NUMBER.fullmatch(path.stem.removeprefix(stem)) if path.stem.startswith(stem) else None
        if match and path.suffix in READERS:
            parts[int(match[1]), int(match[2]), path.suffix] = path
    _, total, suffix = next(iter(parts), (0, 0, ""))
    if len(parts) != total or list(parts) != [(number, total, suffix) for number in range(len(parts))]:
        names = ", ".join(path.name for path in parts.values())
        raise RankprobeError(f"'{folder}' has {names}; expected all parts of '{stem}'")
    return list(parts.values())


def _hub_rows(task: Task, split: str) -> Iterable[NamedRow]:
    from huggingface_hub import hf_hub_download

    if task.files:
        raise RankprobeError(f"task '{task.name}' is not on the hub; leave out --data")
    name = f"{task.hub_name or task.name}/{split}-00000-of-00001.parquet"
    path = from_hub(
        lambda local: hf_hub_download(
            HUB_ID, name, repo_type="dataset", revision=HUB_REVISION, local_files_only=local
        ),
        "data set",
        HUB_ID,
        dataset=True,
        offline=f"give a local folder: --data FOLDER with {task.folder}/train.jsonl and val.jsonl; or "
        "rankprobe's miniature of the task: --data bundled",
    )
    return ((where.replace(path, f"{HUB_ID}/{name}"), row) for where, row in read_rows(Path(path), task))
