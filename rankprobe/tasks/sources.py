"""Where rows come from: the bundled miniature, the hub, a folder, or the files of a task of your own."""

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
from rankprobe.tasks.base import Example, Task
from rankprobe.tasks.readers import READERS, NamedRow, read_rows

SPLITS = {"train": ("train",), "validation": ("val", "validation")}
"""Split names, and their file names in the official release and on the hub. Its test labels are secret."""

HUB_ID = "aps/super_glue"
HUB_REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"
"""The Parquet conversion of SuperGLUE. Pinned, so that one download serves for good, also offline."""

BUNDLED_SPLITS = {"bundled": SPLITS, "bundled-500": {**SPLITS, "validation": ("val500",)}}
"""Our miniature of each task; `bundled-500` has about 500 validation rows, for steadier dev scores."""

PLACES = (*BUNDLED_SPLITS, "hub")
"""What `data` can be besides a folder."""

PART = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]+)?")
"""Behind the name of a split that is in several files, as on the hub."""

SAVED = "data"
"""What `save_to_disk` of datasets calls the files in the folder of a split."""


@dataclass(frozen=True)
class Split:
    """The examples of one split, and where they came from.

    `source` is `bundled`, `hub`, `folder` or `file`; `origin` is the file, or hub id and revision.
    """

    task: Task
    name: str
    source: str
    origin: str
    examples: list[Example]

    @property
    def label(self) -> str:
        """The data's name for people: the bundled miniature is never called SuperGLUE."""
        return f"miniature {self.task.title}" if self.source == "bundled" else self.task.title

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the examples in order."""
        digest = hashlib.sha256()
        for e in self.examples:
            digest.update(
                json.dumps([sorted(e.fields.items()), e.label, e.answers, e.candidates, e.group]).encode()
            )
        return digest.hexdigest()


def load_split(task: Task, split: str, data: str | None) -> Split:
    """Load one split.

    Args:
        task: from the registry, or of your own.
        split: `train` or `validation`.
        data: `bundled` (our miniature of the task), `bundled-500` (with its longer validation split),
            `hub` (`aps/super_glue`, pinned), or a folder with the official JSONL or the hub's columns in
            any format of `readers` (`<folder>/CB/train.jsonl`, or the task's own folder). It may be the
            hub's folder as it was downloaded, or what `save_to_disk` of datasets wrote. None for a task of
            your own, which names its files; a folder takes their place.

    Raises:
        RankprobeError: no such folder or file, no network, a malformed row (file and line), no rows, or
            several files that could be the split.
    """
    if data == "hub":
        source, origin, rows = "hub", f"{HUB_ID}@{HUB_REVISION}", _hub_rows(task, split)
    else:
        source, paths = _files(task, split, data)
        origin = str(paths[0]) + (f" and {len(paths) - 1} more parts" if len(paths) > 1 else "")
        rows = (row for path in paths for row in read_rows(path, task))
    examples = [example for where, row in rows for example in task.examples(row, where)]
    if not examples:
        raise RankprobeError(f"{origin}: no rows; expected {task.title} examples")
    return Split(task, split, source, origin, examples)


def _files(task: Task, split: str, data: str | None) -> tuple[str, list[Path]]:
    """The files of a split, and whether they are bundled, in a folder, or a task's own."""
    if task.files and (data is None or data in BUNDLED_SPLITS):
        path = task.files[split]
        found = [path] if path.is_file() else _parts(path, SAVED)
        found = found or find([path], SPLITS[split]) or find([path.parent], [path.name])
        if not found:
            raise RankprobeError(f"{path}: no such file; task '{task.name}' names it as its {split} rows")
        return "file", found
    if data is None:
        raise RankprobeError(f"no data for {task.title}; give 'bundled', 'hub', or a folder")
    root = bundled.FOLDER if data in BUNDLED_SPLITS else Path(data)
    stems = BUNDLED_SPLITS.get(data, SPLITS)[split]
    name = f"{stems[0]}.jsonl"
    if not root.is_dir():
        raise RankprobeError(
            f"data '{root}' is no folder; give 'bundled', 'hub', or a folder that holds {task.folder}/{name}"
        )
    # The hub's name first: beside wsc.fixed, the hub has an older wsc with other rows.
    folders = [task.hub_name, task.folder, task.name, "", SAVED]
    found = find((root / folder for folder in folders if folder is not None), stems)
    if not found:
        raise RankprobeError(
            f"no {name} for {task.title} in '{root}'; expected {root / task.folder / name}, "
            "the layout of the official SuperGLUE release (.csv and .parquet will do), the hub's, or what "
            "save_to_disk writes"
        )
    return "bundled" if bundled.FOLDER in found[0].parents else "folder", found


def find(folders: Iterable[Path], stems: Iterable[str]) -> list[Path]:
    """The files of a split in the first of the folders that has it: one file, or all its parts in order.

    Raises:
        RankprobeError: the folder has it more than once, or not all of its parts.
    """
    stems = list(stems)
    for folder in folders:
        whole = [folder / f"{stem}{suffix}" for stem in stems for suffix in READERS]
        found = [[path] for path in whole if path.is_file()]
        found += [parts for stem in stems if (parts := _parts(folder, stem))]
        found += [parts for stem in stems if (parts := _parts(folder / stem, SAVED))]
        if len(found) > 1:
            names = " and ".join(str(each[0].relative_to(folder)) for each in found)
            raise RankprobeError(f"'{folder}' has {names}, and each could be the split; keep one of them")
        if found:
            return found[0]
    return []


def _parts(folder: Path, stem: str) -> list[Path]:
    """The files `stem-00000-of-00003.parquet` and so on of a folder, in order.

    Raises:
        RankprobeError: one of them is not there, or there are too many.
    """
    parts: dict[tuple[int, int, str], Path] = {}
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        part = PART.fullmatch(path.stem.removeprefix(stem)) if path.stem.startswith(stem) else None
        if part and path.suffix in READERS:
            parts[int(part[1]), int(part[2]), path.suffix] = path
    found = list(parts.values())
    totals = {(total, suffix) for _, total, suffix in parts}
    if parts and (
        len(totals) > 1 or [number for number, _, _ in parts] != list(range(next(iter(totals))[0]))
    ):
        raise RankprobeError(
            f"'{folder}' has {', '.join(path.name for path in found)}; expected all parts of one {stem}"
        )
    return found


def _hub_rows(task: Task, split: str) -> Iterable[NamedRow]:
    from huggingface_hub import hf_hub_download

    if task.files:
        raise RankprobeError(f"task '{task.name}' is not on the hub as SuperGLUE is; leave out --data")
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
