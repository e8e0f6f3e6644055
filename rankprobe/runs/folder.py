"""The run folder: the contract between everything that trains and everything that reads."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rankprobe.errors import RankprobeError, unknown
from rankprobe.lfs import check_lfs
from rankprobe.runs.contract import Manifest
from rankprobe.runs.files import checked_metadata, last_row, read_log, read_parquet, read_sealed, write_sealed
from rankprobe.runs.lock import is_being_written, writing

MANIFEST = "manifest.json"
PROMPT = "prompt.safetensors"
CHECKPOINTS = "checkpoint"
LOGS = ("steps", "spectra", "evals")
TRUNCATION = "truncation.json"


@dataclass(frozen=True)
class Run:
    """One training of one method with one seed, as it stands on disk."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def manifest(self) -> dict[str, Any]:
        """Settings, fingerprints, versions, status, scores and timings, as last written."""
        manifest = read_sealed(self.path / MANIFEST)
        try:
            Manifest.parse(manifest)
        except RankprobeError as error:
            raise RankprobeError(f"{self.path / MANIFEST}: {error}") from None
        return manifest

    @property
    def status(self) -> str:
        """`running`, `finished`, `failed`, `interrupted`, or `killed`: said to run, with no one writing."""
        status = self.manifest["status"]
        return "killed" if status == "running" and not is_being_written(self.path) else status

    def table(self, name: str) -> pa.Table:
        """The same as an Arrow table: many of them are put under each other faster than frames."""
        parquet = (self.path / name).with_suffix(".parquet")
        # The JSONL first, as in `read_log`.
        if parquet.with_suffix(".jsonl").exists() or not parquet.exists():
            log = self.log(name)
            try:
                return pa.Table.from_pandas(log, preserve_index=False).replace_schema_metadata(None)
            except (pa.ArrowException, ValueError, OverflowError) as error:
                raise RankprobeError(f"{parquet.with_suffix('.jsonl')} is damaged ({error})") from None
        return read_parquet(parquet)

    def readings(self) -> dict[str, Any]:
        """The last row of `steps`, at little cost: of a finished run from its manifest."""
        try:
            return last_row(self.path / "steps") or self.manifest.get("readings", {})
        except (OSError, ValueError, RecursionError) as error:
            check_lfs(self.path / "steps.jsonl")
            raise RankprobeError(f"{self.path / 'steps.jsonl'} cannot be read ({error})") from None

    def update(self, changes: Mapping[str, Any]) -> None:
        """Replace keys of the manifest, atomically."""
        write_sealed(self.path / MANIFEST, {**self.manifest, **changes})

    def log(self, name: str) -> pd.DataFrame:
        """The frame of `steps`, `spectra` or `evals`, also while the run goes on."""
        return read_log(self.path / name)

    def truncation(self) -> dict[str, Any] | None:
        """What `rankprobe truncate` found for this run: rows `curves` and `functional_rank`; or None."""
        path = self.path / TRUNCATION
        try:
            return read_sealed(path) if path.exists() else None
        except RankprobeError as error:
            raise RankprobeError(f"{error}; run rankprobe truncate again") from None

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Everything in `prompt.safetensors`: `P0`, `best`, `final`, and the factors as `factor.<name>`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if not (self.path / PROMPT).exists():
            raise RankprobeError(f"run '{self.id}' ({self.status}) has no {PROMPT} yet")
        try:
            raw = (self.path / PROMPT).read_bytes()
            checked_metadata(raw)
            return load(raw)
        except (OSError, SafetensorError, ValueError) as error:
            check_lfs(self.path / PROMPT)
            raise RankprobeError(f"{self.path / PROMPT} cannot be read ({error})") from None

    def prompt(self, which: str = "final") -> NDArray[np.generic]:
        """A soft prompt of the run, (n, d): `final`, `best` (by dev score) or `P0`.

        Raises:
            RankprobeError: the run has not written that prompt.
        """
        tensors = self.tensors()
        if which not in tensors:
            raise unknown("prompt", which, tensors)
        return tensors[which]


def create_run(path: Path, manifest: Mapping[str, Any]) -> Run:
    """Make a run folder that holds its manifest from the first instant on.

    Raises:
        RankprobeError: the folder exists.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    for left in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*"):  # by a process that was killed in here
        if left == aside or not is_being_written(left):
            shutil.rmtree(left)
    aside.mkdir(parents=True)
    try:
        with writing(aside):
            write_sealed(aside / MANIFEST, manifest)
            aside.rename(path)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise RankprobeError(
            f"{path} exists; continue it with --resume, start over with --overwrite, or choose another --name"
        ) from None
    return Run(path)


def find_run(name: str, runs_dir: str | Path = "runs") -> Run:
    """The run called `name`: its id under `runs_dir`, or the path of its folder.

    Raises:
        RankprobeError: there is none (the nearest id is named).
    """
    for path in (Path(runs_dir) / name, Path(name)):
        if (path / MANIFEST).is_file():
            return Run(path.resolve() if path.name in ("", ".", "..") else path)
    known = [run.id for run in list_runs(runs_dir)]
    if not known:
        raise RankprobeError(f"no run '{name}': there are no runs in '{runs_dir}'")
    raise unknown("run", name, known)


def list_runs(runs_dir: str | Path = "runs") -> list[Run]:
    """Every run folder under `runs_dir`, by id."""
    root = Path(runs_dir)
    folders = sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    return [Run(path) for path in folders if not path.name.startswith(".")]
