"""Turn runs into curves: select the runs, name the curves, and compute the mean and range of each point.

Functions take and return frames. Runs of one curve differ only in the setting on the x axis and in the seed.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd

from rankprobe.paper import method_order, paper_name
from rankprobe.runs import (
    HALF,
    Frames,
    is_half,
    over_seeds,
    replicates,
    reported,
    reported_baseline,
    scored_data_labels,
    setting_text,
    shared_settings,
)
from rankprobe.text import plain

Score = Literal["last", "best"]

PANEL_COLUMNS = ["model_label", "data_label"]
"""A panel has runs of one model on one data set. Miniature data and half of dev have their own labels."""

CURVE_COLUMNS = ["method", "variant", "curve"]
"""The columns that identify a curve in a panel: method, number among the method's curves, name."""

UNDRAWN_SETTINGS = ("twin",)
"""Settings that do not change how a run is drawn."""

CUT_COLUMNS = ["prompt", "split", "order"]
"""Columns of a truncation curve: which prompt was truncated, on which rows it was scored, and which singular
directions come first."""

LEFT_OUT_K = "values of k that only some seeds were cut at are left out"

RUN_COLUMNS = [
    "run_id",
    "status",
    *PANEL_COLUMNS,
    "data_source",
    "seed",
    "method",
    "prompt_length",
    "bottleneck",
    "shots",
    "control",
]
"""Columns of `Frames.runs` that figures need; a column that no run has is filled with NaN."""

SYMBOLS = {"prompt_length": "n", "bottleneck": "b", "sigma_init": "initial σ"}
"""Settings that have a symbol, and the symbol in the name of a curve."""


def finished_runs(frames: Frames, *needed: str) -> pd.DataFrame:
    """Finished runs that have a value in each `needed` column.

    Returns:
        Rows of `frames.runs`. `method` is an ordered categorical in the order of `paper.method_order`.
        `model_label` and `data_label` are escaped for figures. If the scores are from the held-back half of
        dev, `data_label` says so, and figures do not mix them with scores from all of dev.
    """
    columns = dict.fromkeys([*frames.runs.columns, *RUN_COLUMNS, *needed])
    runs = frames.runs.reindex(columns=list(columns))
    methods = pd.CategoricalDtype(method_order(runs["method"].dropna()), ordered=True)
    runs = runs.assign(method=runs["method"].astype(methods))
    runs = runs[(runs["status"] == "finished") & runs[list(needed)].notna().all(axis=1)]
    data_labels, model_labels = scored_data_labels(runs).map(plain), runs["model_label"].map(plain)
    return runs.assign(data_label=data_labels, model_label=model_labels)


def without_controls(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on true labels: all except the null controls with shuffled or random labels."""
    return runs[runs["control"].isna() | (runs["control"] == "none")]


def scored_runs(frames: Frames, score: str) -> pd.DataFrame:
    """Finished runs on true labels that have a score to report.

    Returns:
        The rows of `finished_runs` with `score`, the reported score; `baseline`, on the same dev rows; and
        `paper`, the paper's name for the model, or None if the run is not comparable with the paper.

    Raises:
        RankprobeError: `score` is neither `last` nor `best`.
    """
    runs = without_controls(finished_runs(frames))
    runs = runs.assign(score=reported(runs, score), baseline=reported_baseline(runs))
    runs = runs[runs["score"].notna()]
    names = [paper_name({str(key): value for key, value in run.items()}) for run in runs.to_dict("records")]
    return runs.assign(paper=np.array(names, dtype=object))


def drop_single_points(frames: Frames, runs: pd.DataFrame, x: str) -> pd.DataFrame:
    """If some runs form a curve over `x`, drop the runs that would be a curve of a single point.

    Such runs belong to other experiments in the same folder, which do not vary `x`. Runs without `x` stay.
    """
    n_values = runs.groupby(replicates(runs, frames.settings, *UNDRAWN_SETTINGS, x))[x].transform("nunique")
    return runs[n_values != 1] if (n_values > 1).any() else runs


def drop_unmatched(runs: pd.DataFrame, x: str, *settings: str) -> pd.DataFrame:
    """Drop each run without `x`, unless a run with `x` in the same panel has the same `settings`.

    Runs without `x` become horizontal lines, and must be comparable with the curves of the panel.
    """
    keys = runs[[*PANEL_COLUMNS, *settings]].map(setting_text).agg("\n".join, axis=1)
    return runs[runs[x].notna() | keys.isin(keys[runs[x].notna()])]


def name_curves(frames: Frames, runs: pd.DataFrame, *free: str) -> pd.DataFrame:
    """Add the columns `curve`, the curve's name, and `variant`, its number among the curves of its method.

    Runs of one panel and curve differ only in the seed and in the settings `free`. The name is the method,
    followed by the settings in which curves of the method differ within a panel.
    """
    settings = shared_settings(frames.settings, "method", *UNDRAWN_SETTINGS, *free)
    runs = runs.reset_index(drop=True)
    texts = runs[settings].map(setting_text)
    varying: dict[Any, set[str]] = {method: set() for method in runs["method"]}
    for _, part in runs.groupby([*PANEL_COLUMNS, "method"], observed=True):
        differs = texts.loc[part.index].nunique() > 1
        varying[part["method"].iloc[0]] |= set(differs.index[differs])
    curves = []
    for i, method in enumerate(runs["method"]):
        values = [f"{SYMBOLS.get(s, s)} = {texts.at[i, s]}" for s in settings if s in varying[method]]
        curves.append(plain(", ".join([method, *values])))
    positions = {name: i for i, name in enumerate(sorted(set(curves), key=_natural_order))}
    order = pd.Series(curves).map(positions)
    ranks = order.groupby(runs["method"], observed=True).rank(method="dense")
    return runs.assign(curve=curves, variant=ranks.astype(int) - 1)


def curve_points(runs: pd.DataFrame, x: str | None = None, value: str = "score") -> pd.DataFrame:
    """Mean and range over seeds at each point of each curve.

    Args:
        runs: rows of one panel, as `name_curves` returns them.
        x: the column of the x axis; None: a curve has one point.
        value: the column of the y axis.

    Returns:
        A row per point, sorted by method, variant and x: `CURVE_COLUMNS`, `x` (unless None), and `mean`,
        `min`, `max` of `value` over `n_seeds` seeds.
    """
    points = over_seeds(runs, [*CURVE_COLUMNS, x] if x else CURVE_COLUMNS, value)
    points = points.rename(columns={x: "x"} if x else {})
    return points.sort_values(["method", "variant", *(["x"] if x else [])], ignore_index=True)


def all_seed_points(points: pd.DataFrame) -> pd.DataFrame:
    """The points that all seeds of the curve have, so that all means of a curve are over the same seeds."""
    n_seeds = points.groupby("curve")["n_seeds"].transform("max")
    return points[points["n_seeds"] == n_seeds]


def on_common_tasks(runs: pd.DataFrame, x: str | None = None) -> pd.DataFrame:
    """The runs that can be averaged over the same tasks: the tasks that every method has.

    A combination of curve, `x` and seed that lacks one of these tasks is dropped.

    Args:
        runs: rows of one model and one kind of data, as `name_curves` returns them.
        x: the column of the x axis, if there is one.
    """
    tasks = set.intersection(*(set(part["data_label"]) for _, part in runs.groupby("method", observed=True)))
    common = runs[runs["data_label"].isin(tasks)]
    keys = [*CURVE_COLUMNS, "seed", *([x] if x else [])]
    n_tasks = common.groupby(keys, observed=True)["data_label"].transform("nunique")
    return common[n_tasks == len(tasks)]


def task_average(runs: pd.DataFrame, x: str | None = None) -> pd.DataFrame:
    """Average scores over tasks: a row per curve, x and seed.

    Args:
        runs: rows that `on_common_tasks` returns.
        x: the column of the x axis, if there is one.

    Returns:
        The keys, and the means of `score`, `baseline` and `trainable_parameters`.
    """
    keys = [*CURVE_COLUMNS, "seed", *([x] if x else [])]
    columns = ["score", "baseline", "trainable_parameters"]
    return runs.groupby(keys, as_index=False, observed=True)[columns].mean()


def split_for_averages(runs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Split runs by model and kind of data, so that each part can be averaged over tasks.

    Returns:
        (label of the model, kind of data, runs) for each part. The kind is `tasks` or `miniature tasks`,
        followed by `HALF` if the scores are from the held-back half of dev.
    """
    kind = (runs["data_source"] == "bundled").map({True: "miniature tasks", False: "tasks"})
    kind += is_half(runs).map({True: f", {HALF}", False: ""})
    parts = runs.groupby(["model_label", kind], sort=False)
    return [(str(model), str(name), part) for (model, name), part in parts]  # pyright: ignore[reportGeneralTypeIssues]


def _natural_order(name: str) -> list[tuple[bool, float, str]]:
    """Sort key for names: numbers in a name are ordered by value, so that 9 precedes 10."""
    pieces = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [(i % 2 == 1, float(piece) if i % 2 else 0.0, piece) for i, piece in enumerate(pieces)]
