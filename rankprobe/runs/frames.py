"""Runs as pandas frames: no one parses run folders by hand."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rankprobe.errors import RankprobeError, unknown
from rankprobe.runs.folder import LOGS, Run, list_runs
from rankprobe.runs.scores import majority_from_log
from rankprobe.settings import flatten

SUMMARY = (
    "run_id",
    "status",
    "data_label",
    "data_source",
    "n_train",
    "n_validation",
    "model_label",
    "random_weights",
    "trainable_parameters",
    "path",
    "functional_rank",
)
"""Columns of the frame `runs` besides settings, progress, seconds and readings."""


@dataclass(frozen=True)
class Frames:
    """Logged runs as tidy frames.

    `runs` has one row per run: config, status, data, weights, results, last readings. Its columns `last`,
    `best` and `majority` are of the dev rows that choose the best step; `runs.reported` gives the scores to
    report. `steps`, `spectra` and `evals` have the rows of the logs with `run_id` and the config columns
    joined on, text as categoricals. `truncation` has the curves of runs that `rankprobe truncate` has cut, in
    the same way. `settings` names the config columns.
    """

    runs: pd.DataFrame
    steps: pd.DataFrame
    spectra: pd.DataFrame
    evals: pd.DataFrame
    truncation: pd.DataFrame
    settings: list[str]


def load_runs(runs_dir: str | Path = "runs", only: Sequence[str] | None = None) -> Frames:
    """Read every run under `runs_dir`, finished or still going on.

    Args:
        runs_dir: the folder that holds the run folders.
        only: ids of the runs to read; unset: all.

    Raises:
        RankprobeError: `runs_dir` does not exist, or an id of `only` is not in it.
    """
    readable = _readable(runs_dir, only)
    runs = pd.DataFrame([each.summary for each in readable])
    settings = list(dict.fromkeys(key for each in readable for key in each.config))
    config = runs.reindex(columns=settings)
    taken = {"run_id", *settings}
    logs = {name: _joined([_log(each.run, name, taken) for each in readable], runs, config) for name in LOGS}
    logs["truncation"] = _joined([_truncation(each.run) for each in readable], runs, config)
    return Frames(runs=runs, **logs, settings=settings)


def list_frame(runs_dir: str | Path = "runs") -> pd.DataFrame:
    """The frame `runs` of `load_runs` alone: no logs are read, so a thousand runs take a second."""
    return pd.DataFrame([each.summary for each in _readable(runs_dir, None)])


@dataclass(frozen=True)
class _Read:
    """A run with its settings by flat name and its row of the frame `runs`."""

    run: Run
    config: dict[str, Any]
    summary: dict[str, Any]


def _readable(runs_dir: str | Path, only: Sequence[str] | None) -> list[_Read]:
    if not Path(runs_dir).is_dir():
        raise RankprobeError(f"no folder '{runs_dir}' with runs; train one first: rankprobe probe")
    found = list_runs(runs_dir)
    if only is not None:
        missing = sorted(set(only) - {run.id for run in found})
        if missing:
            raise unknown("run", missing[0], [run.id for run in found])
        found = [run for run in found if run.id in only]
    return [read for run in found if (read := _read(run))]


def _read(run: Run) -> _Read | None:
    try:
        manifest = run.manifest
        return _Read(run, flatten(manifest["config"]), _summary(run, manifest))
    except RankprobeError as error:
        warnings.warn(f"left out: {error}", stacklevel=4)
        return None


def _log(run: Run, name: str, taken: Collection[str]) -> pa.Table:
    """A log without columns whose names are `taken`; a warning names what is left out."""
    try:
        log = run.table(name)
    except RankprobeError as error:
        warnings.warn(f"left out: {error}", stacklevel=3)
        return pa.table({})
    twice = [column for column in log.column_names if column in taken]
    for column in twice:
        warnings.warn(
            f"left out: column '{column}' of the {name} of run '{run.id}', as a setting has this name",
            stacklevel=3,
        )
    return log.drop_columns(twice)


def _truncation(run: Run) -> pa.Table:
    curves = (run.truncation() or {}).get("curves", [])
    return pa.Table.from_pylist(
        [{k: v for k, v in row.items() if k not in ("run_id", "model", "data")} for row in curves]
    )


def _summary(run: Run, manifest: dict[str, Any]) -> dict[str, Any]:
    readings = run.readings()
    about = {
        "run_id": run.id,
        "status": run.status,
        **flatten(manifest["config"]),
        "data_label": manifest["data"]["label"],
        "data_source": manifest["data"]["source"],
        "n_train": manifest["data"]["n_train"],
        "n_validation": manifest["data"]["n_validation"],
        "model_label": manifest["backbone"]["label"],
        "random_weights": manifest["backbone"]["random_weights"],
        "trainable_parameters": manifest["trainable_parameters"],
        **manifest["progress"],
        **majority_from_log(run, manifest["progress"]),
        **{f"{key}_seconds": value for key, value in manifest["timings"].items()},
        "path": str(run.path),
    }
    fresh = {name: value for name, value in readings.items() if name not in about or name == "step"}
    return about | fresh | _functional_rank(run)


def _functional_rank(run: Run) -> dict[str, float | None]:
    """That of P, of a run that `rankprobe truncate` has cut."""
    rows = (run.truncation() or {}).get("functional_rank", [])
    found = [row["functional_rank"] for row in rows if row["matrix"] == "P"]
    return {"functional_rank": found[0]} if found else {}


def _joined(logs: list[pa.Table], runs: pd.DataFrame, config: pd.DataFrame) -> pd.DataFrame:
    """The logs under each other, each row beside the id and config of its run."""
    filled = [log for log in logs if len(log)]
    if not filled:
        return pd.DataFrame(columns=["run_id", "step"])
    which = np.repeat(np.arange(len(logs)), [len(log) for log in logs])
    beside: dict[str, Any] = {"run_id": _categorical(which, runs["run_id"].tolist())}
    for column, values in config.items():
        if values.map(lambda value: isinstance(value, str)).any():
            codes, categories = pd.factorize(values)
            beside[str(column)] = _categorical(codes[which], list(categories))
        else:
            beside[str(column)] = values.to_numpy()[which]
    rows = pa.concat_tables(filled, promote_options="permissive").to_pandas()
    return pd.concat([pd.DataFrame(beside), rows], axis=1)


def _categorical(codes: NDArray[np.intp], categories: list[Any]) -> Any:
    return pd.Categorical.from_codes(codes, pd.Index(categories))
