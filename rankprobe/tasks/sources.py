"""Where rows come from: the bundled miniature, the hub, or a folder of official SuperGLUE JSONL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rankprobe import bundled
from rankprobe.errors import RankprobeError
from rankprobe.hub import from_hub
from rankprobe.tasks.base import Example, Task

SPLITS = {"train": "train", "validation": "val"}
"""Split names, and their file names in the official release. Its test labels are secret: never scored."""

HUB_ID = "aps/super_glue"
HUB_REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"
"""The Parquet conversion of SuperGLUE. Pinned, so that one download serves for good, also offline."""

BUNDLED_SPLITS = {"bundled": SPLITS, "bundled-500": {**SPLITS, "validation": "val500"}}
"""Our miniature of each task; `bundled-500` has about 500 validation rows, for steadier dev scores."""

PLACES = (*BUNDLED_SPLITS, "hub")
"""What `data` can be besides a folder."""


@dataclass(frozen=True)
class Split:
    """The examples of one split, and where they came from.

    `source` is `bundled`, `hub` or `folder`; `origin` is the file, or hub id and revision.
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
        rows = [[sorted(e.fields.items()), e.label, e.answers, e.group] for e in self.examples]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def load_split(task: Task, split: str, data: str) -> Split:
    """Load one split.

    Args:
        task: from the registry.
        split: `train` or `validation`.
        data: `bundled` (our miniature of the task), `bundled-500` (with its longer validation split),
            `hub` (`aps/super_glue`, pinned), or a folder that holds the official release
            (`<folder>/CB/train.jsonl`, or the task's own folder).

    Raises:
        RankprobeError: no such folder or file, no network, a malformed row (file and line), no rows.
    """
    if data == "hub":
        rows, origin = _hub_rows(task, split), f"{HUB_ID}@{HUB_REVISION}"
    else:
        root = bundled.FOLDER if data in BUNDLED_SPLITS else Path(data)
        path = _file(task, root, BUNDLED_SPLITS.get(data, SPLITS)[split])
        rows, origin = _jsonl_rows(path), str(path)
    examples = [example for where, row in rows for example in task.examples(row, where)]
    if not examples:
        raise RankprobeError(f"{origin}: no rows; expected {task.title} examples")
    source = "bundled" if bundled.FOLDER in Path(origin).parents else "hub" if data == "hub" else "folder"
    return Split(task, split, source, origin, examples)


def _file(task: Task, root: Path, stem: str) -> Path:
    name = f"{stem}.jsonl"
    if not root.is_dir():
        raise RankprobeError(
            f"data '{root}' is no folder; give 'bundled', 'hub', or a folder that holds {task.folder}/{name}"
        )
    for path in (root / task.folder / name, root / name):
        if path.is_file():
            return path
    raise RankprobeError(
        f"no {name} for {task.title} in '{root}'; expected {root / task.folder / name}, "
        "the layout of the official SuperGLUE release"
    )


def _jsonl_rows(path: Path) -> Iterator[tuple[str, object]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield f"{path}:{number}", json.loads(line.decode())
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise RankprobeError(f"{path}:{number}: not a line of JSON in UTF-8 ({error})") from None


def _hub_rows(task: Task, split: str) -> Iterator[tuple[str, object]]:
    from datasets import Dataset
    from huggingface_hub import hf_hub_download

    name = f"{task.hub_name or task.name}/{split}-00000-of-00001.parquet"
    path = from_hub(
        lambda local: hf_hub_download(
            HUB_ID, name, repo_type="dataset", revision=HUB_REVISION, local_files_only=local
        ),
        "data set",
        HUB_ID,
        dataset=True,
        offline=f"give a local folder: --data FOLDER with {task.folder}/train.jsonl and val.jsonl",
    )
    table = Dataset.from_parquet(path, keep_in_memory=True)
    names = tuple(getattr(table.features.get("label"), "names", task.labels))
    if names != task.labels:
        raise RankprobeError(f"{HUB_ID}/{name}: class ids stand for {names}; expected {task.labels}")
    return ((f"{HUB_ID}/{name} row {i}", row) for i, row in enumerate(table))
