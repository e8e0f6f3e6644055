"""Reads many runs into pandas frames, so that no other code has to parse run folders."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int

from rankprobe.errors import RankprobeError, unknown
from rankprobe.runs.folder import LOGS, Run, list_runs
from rankprobe.runs.html import frames_html
from rankprobe.runs.scores import baseline_from_log

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
    "functional_rank_order",
    "functional_rank_prompt",
)
"""Columns of the frame `runs` other than settings, progress, seconds and readings."""

SETTINGS_IN_LOGS = {"scoring"}
"""Settings that are also columns of a log: with `scoring = both`, some rows are `greedy` and some `rank`."""


@dataclass(frozen=True)
class Frames:
    """Runs and their logs as tidy frames.

    Attributes:
        runs: one row per run: settings, status, data, weights, results, last readings. Its columns `last`,
            `best` and `baseline` are scores on the dev rows that select the best step;
            `rankprobe.runs.reported` gives the scores to report.
        steps: the rows of the logs `steps`, with `run_id` and the settings as columns (text as categoricals).
        spectra: the same for the logs `spectra`.
        evals: the same for the logs `evals`.
        truncation: the same for the curves of `rankprobe truncate`; `prompt` is the one that was truncated.
        settings: the names of the columns that are settings.
    """

    runs: pd.DataFrame
    steps: pd.DataFrame
    spectra: pd.DataFrame
    evals: pd.DataFrame
    truncation: pd.DataFrame
    settings: list[str]

    def _repr_html_(self) -> str:
        """For notebooks: the number of rows of each frame, and the first runs."""
        return frames_html(self)


def load_runs(runs_dir: str | Path = "runs", only: Sequence[str] | None = None) -> Frames:
    """Read all runs in `runs_dir`, finished or not. A damaged run or log is left out with a warning.

    Args:
        runs_dir: the folder that contains the run folders.
        only: ids of the runs to read; None: all.

    Raises:
        RankprobeError: `runs_dir` does not exist, or does not contain a run of `only`.
    """
    return frames_of(_selected(runs_dir, only))


def frames_of(runs: Sequence[Run]) -> Frames:
    """Read these runs, finished or not, as `load_runs` does. A damaged run is left out with a warning."""
    loaded = _load(runs)
    table = pd.DataFrame([run.summary for run in loaded])
    settings = list(dict.fromkeys(name for run in loaded for name in run.config))
    config = table.reindex(columns=settings)
    reserved = {"run_id", *settings} - SETTINGS_IN_LOGS
    logs = {name: _joined([_log(run.run, name, reserved) for run in loaded], table, config) for name in LOGS}
    logs["truncation"] = _joined([_truncation(run.run) for run in loaded], table, config)
    return Frames(runs=table, **logs, settings=settings)


def list_frame(runs_dir: str | Path = "runs") -> pd.DataFrame:
    """Return the frame `runs` of `load_runs`. It reads no logs, so a thousand runs take one second."""
    return pd.DataFrame(list_rows(runs_dir))


def list_rows(runs_dir: str | Path = "runs") -> list[dict[str, Any]]:
    """Return the rows of `list_frame` with the types of the manifests: integers and None stay as they are."""
    return [run.summary for run in _load(_selected(runs_dir, None))]


@dataclass(frozen=True)
class _LoadedRun:
    """A run with its settings and its row of the frame `runs`."""

    run: Run
    config: dict[str, Any]
    summary: dict[str, Any]


def _selected(runs_dir: str | Path, only: Sequence[str] | None) -> list[Run]:
    """The runs in a folder, or those with the ids `only`."""
    if not Path(runs_dir).is_dir():
        raise RankprobeError(f"no folder '{runs_dir}' with runs; train one first: rankprobe probe")
    runs = list_runs(runs_dir)
    if only is None:
        return runs
    missing = sorted(set(only) - {run.id for run in runs})
    if missing:
        raise unknown("run", missing[0], [run.id for run in runs])
    return [run for run in runs if run.id in only]


def _load(runs: Sequence[Run]) -> list[_LoadedRun]:
    loaded = []
    for run in runs:
        try:
            manifest = run.manifest
            loaded.append(_LoadedRun(run, manifest["config"], _summary(run, manifest)))
        except RankprobeError as error:
            warnings.warn(f"left out: {error}", stacklevel=3)
    return loaded


def _log(run: Run, name: str, reserved: Collection[str]) -> pa.Table:
    """Read a log without the columns in `reserved`; a warning names what is left out."""
    try:
        log = run.table(name)
    except RankprobeError as error:
        warnings.warn(f"left out: {error}", stacklevel=3)
        return pa.table({})
    clashing = [column for column in log.column_names if column in reserved]
    for column in clashing:
        warnings.warn(
            f"left out: column '{column}' of the {name} of run '{run.id}', because a setting has this name",
            stacklevel=3,
        )
    return log.drop_columns(clashing)


def _truncation(run: Run) -> pa.Table:
    curves = [row for tables in run.truncations().values() for row in tables["curves"]]
    return pa.Table.from_pylist(
        [{k: v for k, v in row.items() if k not in ("run_id", "model", "data")} for row in curves]
    )


def _summary(run: Run, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a run in the frame `runs`."""
    readings = run.readings()
    summary = {
        "run_id": run.id,
        "status": run.status,
        **manifest["config"],
        "data_label": manifest["data"]["label"],
        "data_source": manifest["data"]["source"],
        "n_train": manifest["data"]["n_train"],
        "n_validation": manifest["data"]["n_validation"],
        "model_label": manifest["backbone"]["label"],
        "random_weights": manifest["backbone"]["random_weights"],
        "trainable_parameters": manifest["trainable_parameters"],
        **manifest["progress"],
        **baseline_from_log(run, manifest["progress"]),
        **{f"{key}_seconds": value for key, value in manifest["timings"].items()},
        "path": str(run.path),
    }
    # While a run goes on, the last row of its log has a later step than its manifest.
    new = {name: value for name, value in readings.items() if name not in summary or name == "step"}
    return summary | new | _functional_rank(run)


def _functional_rank(run: Run) -> dict[str, Any]:
    """Return the functional rank of P, its order and prompt, or {} for a run that was not truncated."""
    rows = [row for row in (run.truncation() or {}).get("functional_rank", []) if row["matrix"] == "P"]
    if not rows:
        return {}
    return {
        "functional_rank": rows[0]["functional_rank"],
        "functional_rank_order": rows[0]["order"],
        "functional_rank_prompt": rows[0].get("prompt", "final"),
    }


def _joined(logs: list[pa.Table], runs: pd.DataFrame, config: pd.DataFrame) -> pd.DataFrame:
    """Concatenate logs, one per run, and add the id and the settings of the run to each row."""
    filled = [log for log in logs if len(log)]
    if not filled:
        return pd.DataFrame(columns=["run_id", "step"])
    run_of_row = np.repeat(np.arange(len(logs)), [len(log) for log in logs])
    run_columns: dict[str, Any] = {"run_id": _categorical(run_of_row, runs["run_id"].tolist())}
    for column, values in config.items():
        if values.map(lambda value: isinstance(value, str)).any():
            codes, categories = pd.factorize(values)
            run_columns[str(column)] = _categorical(codes[run_of_row], list(categories))
        else:
            run_columns[str(column)] = values.to_numpy()[run_of_row]
    rows = pa.concat_tables(filled, promote_options="permissive").to_pandas()
    for name in SETTINGS_IN_LOGS & {*run_columns} & {*rows}:
        del run_columns[name]
    return pd.concat([pd.DataFrame(run_columns), rows], axis=1)


def _categorical(codes: Int[np.ndarray, " rows"], categories: list[Any]) -> Any:
    return pd.Categorical.from_codes(codes, pd.Index(categories))
