"""The run folder: training writes it, and all commands about runs read it."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Shaped

from rankprobe.errors import RankprobeError, unknown
from rankprobe.lfs import check_lfs
from rankprobe.runs.checksums import checked_metadata, read_checked_json, write_checked_json
from rankprobe.runs.contract import Manifest, current_name, truncation_tables, upgraded, with_current_names
from rankprobe.runs.files import temporary
from rankprobe.runs.flock import HAS_FLOCK
from rankprobe.runs.heartbeat import beating
from rankprobe.runs.html import run_html
from rankprobe.runs.lock import is_being_written, writing
from rankprobe.runs.logs import last_row, read_log, read_parquet

if TYPE_CHECKING:
    import rankprobe

MANIFEST = "manifest.json"
PROMPT = "prompt.safetensors"
CHECKPOINTS = "checkpoint"
LOGS = ("steps", "spectra", "evals")
MATRIX = "matrix"
"""The column of `spectra` that says whose singular values a row holds."""


def truncation_file(scoring: str | None = None, which: str = "final") -> str:
    """The name of a truncation file.

    Args:
        scoring: None for the one by which the run chose its best prompt.
        which: the truncated prompt, `final` or `best`.
    """
    parts = ["truncation", *(["best"] if which == "best" else []), *([scoring] if scoring else [])]
    return f"{'_'.join(parts)}.json"


@dataclass(frozen=True)
class Run:
    """The run folder of one training of one method with one seed."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def manifest(self) -> dict[str, Any]:
        """Settings, fingerprints, versions, status, scores and timings, as last written.

        A manifest of an earlier version gets the present names. A setting that did not exist then gets the
        value that describes what rankprobe did at that time.

        Raises:
            RankprobeError: the file is missing or damaged, or a key is missing or has a wrong type.
        """
        manifest = upgraded(read_checked_json(self.path / MANIFEST))
        try:
            Manifest.parse(manifest)
        except RankprobeError as error:
            raise RankprobeError(f"{self.path / MANIFEST}: {error}") from None
        return manifest

    @property
    def status(self) -> str:
        """`running`, `finished`, `failed`, `interrupted`, or `killed` (unfinished, and no writer)."""
        status = self.manifest["status"]
        if status == "running" and not is_being_written(self.path):
            status = self.manifest["status"]  # the writer may have ended after the first look
            return "killed" if status == "running" else status
        return status

    def log(self, name: str) -> pd.DataFrame:
        """Read the log `steps`, `spectra` or `evals`, also while the run goes on.

        Raises:
            RankprobeError: the log is damaged.
        """
        log = read_log(self.path / name)
        if MATRIX in log:
            log[MATRIX] = log[MATRIX].map(current_name)
        for old in map(str, log.columns):
            new = current_name(old)
            if new != old and new in log:  # an earlier version started this run, and this version resumed it
                log[new] = log[new].fillna(log.pop(old))
        return log.rename(columns={name: current_name(name) for name in map(str, log.columns)})

    def table(self, name: str) -> pa.Table:
        """Read a log as an Arrow table, which can be concatenated faster than a data frame.

        Raises:
            RankprobeError: the log is damaged.
        """
        parquet = (self.path / name).with_suffix(".parquet")
        # The JSONL file first, as in `read_log`.
        if parquet.with_suffix(".jsonl").exists() or not parquet.exists():
            return self._log_as_table(name)
        table = read_parquet(parquet)
        names = [current_name(column) for column in table.column_names]
        if len({*names}) < len(names):  # `log` joins the columns of two versions
            return self._log_as_table(name)
        if MATRIX in table.column_names:
            place = table.column_names.index(MATRIX)
            table = table.set_column(place, MATRIX, _renamed(table[MATRIX]))
        return table.rename_columns(names)

    def _log_as_table(self, name: str) -> pa.Table:
        log = self.log(name)
        try:
            return pa.Table.from_pandas(log, preserve_index=False).replace_schema_metadata(None)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise RankprobeError(f"{self.path / name}.jsonl is damaged ({error})") from None

    def readings(self) -> dict[str, Any]:
        """Return the last row of `steps` without reading the whole log.

        A finished run has a copy of it in its manifest.
        """
        try:
            last = last_row(self.path / "steps")
            return with_current_names(last) if last else self.manifest.get("readings", {})
        except (OSError, ValueError, RecursionError) as error:
            check_lfs(self.path / "steps.jsonl")
            raise RankprobeError(f"{self.path / 'steps.jsonl'} cannot be read ({error})") from None

    def update(self, changes: Mapping[str, Any]) -> None:
        """Replace keys of the manifest, atomically."""
        write_checked_json(self.path / MANIFEST, {**self.manifest, **changes})

    def truncation(self, scoring: str | None = None, which: str = "final") -> dict[str, Any] | None:
        """Return the results of `rankprobe truncate`, or None: `curves`, `functional_rank` and `profile`.

        Each is a list of rows, as `evaluation.Truncation` describes them. A file of an earlier version has no
        profile, and its order is `singular`.

        Args:
            scoring: `greedy` or `rank`, where that is not how the run chose its best prompt.
            which: `final` or `best`. If only the other prompt was truncated, its results are returned; each
                row names its `prompt`.

        Raises:
            RankprobeError: a file is damaged.
        """
        found = self.truncations(scoring)
        return found.get(which, next(iter(found.values()), None))

    def truncations(self, scoring: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the results of `rankprobe truncate` by prompt, `final` and `best`; see `truncation`.

        Earlier versions wrote both prompts into one file, so the rows decide, not the name of the file.
        """
        found = {}
        for path in (self.path / truncation_file(scoring, which) for which in ("final", "best")):
            if path.exists():
                tables = _read_truncation(path)
                rows = tables["functional_rank"] or tables["curves"] or [{}]
                found[rows[0].get("prompt") or "final"] = tables
        return found

    def tensors(self) -> dict[str, Shaped[np.ndarray, " ..."]]:
        """Return the tensors of `prompt.safetensors`: `P0`, `best`, `final`, and factors as `factor.<name>`.

        Raises:
            RankprobeError: the file does not exist yet, or is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if not (self.path / PROMPT).exists():
            status = self.status
            then = "; train it again" if status == "failed" else " yet"
            raise RankprobeError(f"run '{self.id}' ({status}) has no {PROMPT}{then}")
        try:
            raw = (self.path / PROMPT).read_bytes()
            checked_metadata(raw)
            return load(raw)
        except (OSError, SafetensorError, ValueError) as error:
            check_lfs(self.path / PROMPT)
            raise RankprobeError(f"{self.path / PROMPT} cannot be read ({error})") from None

    @property
    def plot(self) -> rankprobe.plots.RunPlots:
        """The figures of the run, such as `run.plot.emergence()`; see `rankprobe.plots.RunPlots`."""
        import rankprobe  # its names are loaded on first use, so this room does not import the figures

        return rankprobe.plots.RunPlots(self)

    def report(self, output: str | Path = "report.html", **options: Any) -> Path:
        """Write a report of this run as one HTML file; see `rankprobe.report` for options and errors."""
        import rankprobe

        return rankprobe.report(self, output, **options)

    def _repr_html_(self) -> str:
        """A table for notebooks: what the run is of, its status, scores and readings."""
        return run_html(self)

    def prompt(self, which: str = "final") -> Float[np.ndarray, "n d"]:
        """Return a soft prompt of the run: `final`, `best` (at the step with the best dev score) or `P0`.

        Raises:
            RankprobeError: the run has no such prompt (yet).
        """
        tensors = self.tensors()
        if which not in tensors:
            raise unknown("prompt", which, tensors)
        return tensors[which]


def _read_truncation(path: Path) -> dict[str, Any]:
    try:
        results = read_checked_json(path)
    except RankprobeError as error:
        raise RankprobeError(f"{error}; run rankprobe truncate again") from None
    try:
        return truncation_tables(results)
    except RankprobeError as error:
        raise RankprobeError(f"{path}: {error}; run rankprobe truncate again") from None


def _renamed(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """The present names of matrices; each name is looked up once, as a log has many rows."""
    coded = names.combine_chunks().dictionary_encode()
    present = pa.array([current_name(name) for name in coded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([present.take(coded.indices)])


def create_run(path: Path, manifest: Mapping[str, Any]) -> Run:
    """Create a run folder that contains its manifest from the start.

    Raises:
        RankprobeError: the folder exists.
    """
    with new_run(path, manifest) as run:
        return run


@contextmanager
def new_run(path: Path, manifest: Mapping[str, Any], *, replace: bool = False) -> Iterator[Run]:
    """Create a run folder as `create_run` does, and keep it locked for writing inside the context.

    Args:
        path: the run folder.
        manifest: the content of its manifest.
        replace: remove a run that exists at `path`.

    Raises:
        RankprobeError: the folder exists; or, with `replace`, another process is writing it.
        OSError: no folder can be made there.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary(path, folder=True))
        except OSError as error:
            raise OSError(
                f"no run folder can be made in '{path.parent}' ({error.strerror}); choose another --runs-dir"
            ) from None
        write_checked_json(folder / MANIFEST, manifest)
        with beating(folder, locks=HAS_FLOCK, becomes=path):
            _put_in_place(folder, path, replace)
            yield Run(path)


def _put_in_place(folder: Path, path: Path, replace: bool) -> None:
    """Rename a run folder to `path`. A run to replace is renamed first, because its removal takes time."""
    while True:
        try:
            if replace and path.exists():
                with writing(path), temporary(path, folder=True) as old:
                    if not HAS_FLOCK:
                        old.rmdir()  # Windows renames to free names only
                    path.rename(old)
                    folder.rename(path)
            else:
                folder.rename(path)
            return
        except OSError as error:
            taken = error.errno in (errno.EEXIST, errno.ENOTEMPTY)
            if taken and not replace:
                raise RankprobeError(
                    f"{path} exists; continue it with --resume, start over with --overwrite, "
                    "or choose another --name"
                ) from None
            gone = error.errno == errno.ENOENT and folder.exists()
            if not (replace and (taken or gone)):
                raise
            # Another process replaces the run; while it does, the name is free for a moment. Look again.


def find_run(name: str, runs_dir: str | Path = "runs") -> Run:
    """Return the run with this id in `runs_dir`, or the run whose folder has this path.

    Raises:
        RankprobeError: the run does not exist; the message suggests the nearest id.
    """
    for path in (Path(runs_dir) / name, Path(name)):
        if (path / MANIFEST).is_file():
            return Run(path.resolve() if path.name in ("", ".", "..") else path)
    ids = [run.id for run in list_runs(runs_dir)]
    if not ids:
        raise RankprobeError(f"no run '{name}': there are no runs in '{runs_dir}'")
    raise unknown("run", name, ids)


def is_folder_of_runs(place: str | Path) -> bool:
    """Return whether `place` is a folder, but no run folder."""
    return Path(place).is_dir() and not (Path(place) / MANIFEST).is_file()


def runs_at(place: str | Path, runs_dir: str | Path = "runs") -> list[Run]:
    """Return the runs in a folder of runs, sorted by id, or the one run that `find_run` finds.

    Raises:
        RankprobeError: there is no such run, or the folder has none.
    """
    inside = list_runs(place) if is_folder_of_runs(place) else []
    if not inside and is_folder_of_runs(place) and Path(place).parts:
        raise RankprobeError(f"no runs in '{place}'; train one first: rankprobe probe")
    return inside or [find_run(str(place), runs_dir)]


def list_runs(runs_dir: str | Path = "runs") -> list[Run]:
    """Return all runs in `runs_dir`, sorted by id."""
    root = Path(runs_dir)
    folders = sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    return [Run(path) for path in folders if not path.name.startswith(".")]
