"""Finds prompt files in folders, and says which public collection, model and task each belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from pydantic import Field

from rankprobe.errors import RankprobeError
from rankprobe.runs import MANIFEST
from rankprobe.runs.adapters import ADAPTER_CONFIG
from rankprobe.runs.tensor_files import file_format
from rankprobe.settings import Settings, read_toml

MAX_BYTES = 64 * 2**20
"""A larger file in a folder is not opened: it holds a model. A prompt of 200 × 8192 has 6.5 MB."""


class Prompts(Settings):
    """Prompts of one model in a collection.

    A path is compared with the end of a file's path. `{task}` is the task, `*` any text within one part.
    """

    model: str
    path: list[str]
    task: str = Field(default="", description="The task, if the paths do not contain it")

    @cached_property
    def patterns(self) -> list[re.Pattern[str]]:
        return [re.compile(_regular(path)) for path in self.path]


class Source(Settings):
    """A public collection of prompts."""

    repository: str
    revision: str
    licence: str
    paper: str = ""
    skip: list[str] = Field(default=[], description="Names of files and folders that hold no prompts")
    prompts: list[Prompts]


class Sources(Settings):
    """All collections, and the kinds of tasks."""

    kinds: dict[str, list[str]] = Field(default={}, description="Names of tasks by kind")
    source: list[Source] = Field(default=[], description="The collections")


@dataclass(frozen=True)
class Found:
    """A place with prompts.

    Attributes:
        place: the file, run folder or adapter, for `read_prompts`.
        shown: its path below the folder that was searched.
        source: its collection; empty if no collection lists it.
        model, task, kind: as its collection says, the task in lower case; empty if unknown.
    """

    place: Path
    shown: str
    source: str
    model: str
    task: str
    kind: str


def load_sources(path: Path | None) -> Sources:
    """Read a TOML file of collections, such as `experiments/atlas/sources.toml`; None gives no collections.

    Raises:
        RankprobeError: the file cannot be read, is not TOML, or has a wrong key or value.
    """
    if path is None:
        return Sources()
    keys = read_toml(path, "sources")
    try:
        return Sources.parse(keys)
    except RankprobeError as error:
        raise RankprobeError(f"sources '{path}': {error}") from None


def find_prompts(places: Sequence[Path], sources: Sources) -> tuple[list[Found], list[str]]:
    """Return the places with prompts, and a line for each file that was left out.

    A run folder, an adapter or a file is one place. In any other folder, all files and subfolders are
    searched; the content of a file decides whether it can be a prompt. Hidden folders, the files that a
    collection skips, and files above 64 MiB are left out.

    Raises:
        RankprobeError: a file cannot be opened.
    """
    found: list[Found] = []
    left_out: list[str] = []
    skip = [pattern for source in sources.source for pattern in source.skip]
    for place in places:
        if not place.is_dir() or _is_one(place):
            found.append(_describe(place, place.name, sources))
            continue
        for path in _walk(place, skip):
            shown = str(path.relative_to(place))
            if path.is_dir():
                found.append(_describe(path, shown, sources))
            elif path.stat().st_size > MAX_BYTES:
                left_out.append(f"{shown}: {path.stat().st_size / 2**20:.0f} MiB, too large for a prompt")
            else:
                try:
                    if file_format(path):
                        found.append(_describe(path, shown, sources))
                except RankprobeError as error:
                    left_out.append(f"{shown}: {error}")
    return found, left_out


def _is_one(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or (folder / ADAPTER_CONFIG).is_file()


def _walk(root: Path, skip: list[str]) -> Iterator[Path]:
    """Yield the files, run folders and adapters below a folder, in the order of their names."""
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _is_skipped(name, skip))
        for name in [name for name in folders if _is_one(here / name)]:
            folders.remove(name)
            yield here / name
        for name in sorted(files):
            if not _is_skipped(name, skip) and (here / name).is_file():
                yield here / name


def _is_skipped(name: str, skip: list[str]) -> bool:
    return name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in skip)


def _describe(place: Path, shown: str, sources: Sources) -> Found:
    """Find the first path of a collection that fits, and the kind of its task."""
    text = place.absolute().as_posix()
    for source in sources.source:
        for prompts in source.prompts:
            for pattern in prompts.patterns:
                if match := pattern.search(text):
                    task = (match.groupdict().get("task") or prompts.task).lower()
                    kind = next((kind for kind, tasks in sources.kinds.items() if task in tasks), "")
                    return Found(place, shown, source.repository, prompts.model, task, kind)
    return Found(place, shown, "", "", "", "")


def _regular(path: str) -> str:
    """Translate a path of a collection into a regular expression for the end of a file's path."""
    parts = {"{task}": "(?P<task>[^/]+?)", "*": "[^/]*"}
    pieces = re.split(r"(\{task\}|\*)", path)
    return "(?:^|/)" + "".join(parts.get(piece, re.escape(piece)) for piece in pieces) + "$"
