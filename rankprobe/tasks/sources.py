"""Where rows come from: the bundled miniature, the hub, a folder, or the files of a task of your own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
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
            JSONL, CSV or Parquet (`<folder>/CB/train.jsonl`, or the task's own folder). None for a task of
            your own, which names its files; a folder takes their place.

    Raises:
        RankprobeError: no such folder or file, no network, a malformed row (file and line), no rows.
    """
    if data == "hub":
        source, origin, rows = "hub", f"{HUB_ID}@{HUB_REVISION}", _hub_rows(task, split)
    else:
        source, path = _file(task, split, data)
        origin, rows = str(path), read_rows(path, task.labels)
    examples = [example for where, row in rows for example in task.examples(row, where)]
    if not examples:
        raise RankprobeError(f"{origin}: no rows; expected {task.title} examples")
    return Split(task, split, source, origin, examples)


def _file(task: Task, split: str, data: str | None) -> tuple[str, Path]:
    """The file of a split, and whether it is bundled, in a folder, or a task's own."""
    if task.files and (data is None or data in BUNDLED_SPLITS):
        path = task.files[split]
        if not path.is_file():
            raise RankprobeError(f"{path}: no such file; task '{task.name}' names it as its {split} rows")
        return "file", path
    if data is None:
        raise RankprobeError(f"no data for {task.title}; give 'bundled', 'hub', or a folder")
    root = bundled.FOLDER if data in BUNDLED_SPLITS else Path(data)
    stems = BUNDLED_SPLITS.get(data, SPLITS)[split]
    name = f"{stems[0]}.jsonl"
    if not root.is_dir():
        raise RankprobeError(
            f"data '{root}' is no folder; give 'bundled', 'hub', or a folder that holds {task.folder}/{name}"
        )
    path = find((root / task.folder, root / task.name, root), stems)
    if path is None:
        raise RankprobeError(
            f"no {name} for {task.title} in '{root}'; expected {root / task.folder / name}, "
            "the layout of the official SuperGLUE release (.csv and .parquet will do)"
        )
    return "bundled" if bundled.FOLDER in path.parents else "folder", path


def find(folders: Iterable[Path], stems: Iterable[str]) -> Path | None:
    """The first file in any of the folders that has one of the names, in a format that can be read."""
    names = [f"{stem}{suffix}" for stem, suffix in product(stems, READERS)]
    return next((path for folder in folders for name in names if (path := folder / name).is_file()), None)


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
    return (
        (where.replace(path, f"{HUB_ID}/{name}"), row) for where, row in read_rows(Path(path), task.labels)
    )
