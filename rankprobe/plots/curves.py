"""From runs to the points of curves: which runs are one curve, what it is called, its mean and range.

Frames in, frames out. A curve never mixes runs that differ in more than its x axis and the seed.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd

from rankprobe.bundled.paper import paper_name
from rankprobe.plots.style import METHODS
from rankprobe.runs import (
    HALF,
    Frames,
    decisive,
    is_half,
    over_seeds,
    replicates,
    reported,
    reported_majority,
    scored_rows,
    shown,
)
from rankprobe.text import plain

Score = Literal["last", "best"]

PANEL = ["model_label", "data_label"]
"""What is never mixed: weights, and data (a miniature has a label of its own, and so has half of dev)."""

FREE = ("twin",)
"""Settings that change nothing that is drawn of a run itself."""

CURVE = ["method", "variant", "curve"]

HOW = ["prompt", "split"]
"""Columns of a truncation curve: which prompt was cut, and on which rows it was scored."""

NOT_SHARED = "values of k that only some seeds were cut at are left out"

READ = [
    "run_id",
    "status",
    *PANEL,
    "data_source",
    "seed",
    "method",
    "prompt_length",
    "bottleneck",
    "shots",
    "control",
]
"""Columns that figures read; settings of methods that no run has are filled with NaN."""

LETTERS = {"prompt_length": "n", "bottleneck": "b", "sigma_init": "initial σ"}


def finished(frames: Frames, *needed: str) -> pd.DataFrame:
    """The finished runs that have a value in each column `needed`, with labels as they are drawn.

    `data_label` says where scores are of the held-back half of dev only, so that no figure mixes them.
    """
    columns = dict.fromkeys([*frames.runs.columns, *READ, *needed])
    runs = frames.runs.reindex(columns=list(columns))
    runs = runs[(runs["status"] == "finished") & runs[list(needed)].notna().all(axis=1)]
    return runs.assign(data_label=scored_rows(runs).map(plain), model_label=runs["model_label"].map(plain))


def on_true_labels(runs: pd.DataFrame) -> pd.DataFrame:
    """Without the null controls."""
    return runs[runs["control"].isna() | (runs["control"] == "none")]


def scored(frames: Frames, score: str) -> pd.DataFrame:
    """Finished runs on true labels that have a score to report.

    Returns:
        Rows of `frames.runs` with `score`, the one to report; `majority`, of the same dev rows; and `paper`,
        the paper's name of the model.

    Raises:
        RankprobeError: `score` is neither `last` nor `best`.
    """
    runs = on_true_labels(finished(frames))
    runs = runs.assign(score=reported(runs, score), majority=reported_majority(runs))
    runs = runs[runs["score"].notna()]
    names = [paper_name({str(key): value for key, value in run.items()}) for run in runs.to_dict("records")]
    return runs.assign(paper=np.array(names, dtype=object))


def longest(frames: Frames, runs: pd.DataFrame, x: str) -> pd.DataFrame:
    """Without lone points where there is a curve: runs that share all settings but `x` with no other x.

    Folders hold the runs of many experiments, and each has a run at the usual value of the others' x.
    Runs without `x` stay.
    """
    spread = runs.groupby(replicates(runs, frames.settings, *FREE, x))[x].transform("nunique")
    return runs[spread != 1] if (spread > 1).any() else runs


def beside(runs: pd.DataFrame, x: str, *same: str) -> pd.DataFrame:
    """Without runs that have no `x` and differ in a setting `same` from all that have it in their panel."""
    keys = _said(runs, [*PANEL, *same]).agg("\n".join, axis=1)
    return runs[runs[x].notna() | keys.isin(keys[runs[x].notna()])]


def named(frames: Frames, runs: pd.DataFrame, *free: str) -> pd.DataFrame:
    """`runs` with the columns `curve`, its name, and `variant`, its number among the curves of its method.

    Runs of one panel, method and curve differ in the seed and the settings `free` only. The name is the
    method's, and says each setting in which curves of the method differ in some panel.
    """
    settings = decisive(frames.settings, "method", *FREE, *free)
    runs = runs.reset_index(drop=True)
    said = _said(runs, settings)
    differ: dict[Any, set[str]] = {method: set() for method in runs["method"]}
    for _, part in runs.groupby([*PANEL, "method"]):
        varying = said.loc[part.index].nunique() > 1
        differ[part["method"].iloc[0]] |= set(varying.index[varying])
    curves = [
        plain(
            ", ".join(
                [method, *(f"{LETTERS.get(s, s)} = {said.at[i, s]}" for s in settings if s in differ[method])]
            )
        )
        for i, method in enumerate(runs["method"])
    ]
    order = sorted(set(curves), key=_natural)
    numbers = pd.Series(curves).map({name: i for i, name in enumerate(order)})
    return runs.assign(
        curve=curves, variant=numbers.groupby(runs["method"]).rank(method="dense").astype(int) - 1
    )


def points(runs: pd.DataFrame, x: str | None = None, value: str = "score") -> pd.DataFrame:
    """A row per point of each curve: `x`, and `mean`, `min`, `max` of `value` over `n_seeds` seeds.

    Args:
        runs: of one panel, named.
        x: the column of the x axis; unset: a curve is one point.
        value: the column of the y axis.
    """
    found = over_seeds(runs, [*CURVE, x] if x else CURVE, value)
    found = found.rename(columns={x: "x"} if x else {})
    order = {method: i for i, method in enumerate(METHODS)}
    by = ["method", "variant", *(["x"] if x else [])]
    return found.sort_values(by, key=lambda c: c.map(order) if c.name == "method" else c, ignore_index=True)


def shared(points: pd.DataFrame) -> pd.DataFrame:
    """The points of each curve that all its seeds have.

    A mean over other seeds from point to point would be no curve.
    """
    most = points.groupby("curve")["n_seeds"].transform("max")
    return points[points["n_seeds"] == most]


def over_tasks(runs: pd.DataFrame, x: str | None = None) -> pd.DataFrame:
    """Those of the runs that can be averaged over the same tasks.

    Tasks are those that every method has; what lacks one of them (a curve, an x, a seed) is left out.

    Args:
        runs: of one model and one kind of data, named.
        x: the column of the x axis, if there is one.
    """
    tasks = set.intersection(*(set(part["data_label"]) for _, part in runs.groupby("method")))
    common = runs[runs["data_label"].isin(tasks)]
    has = common.groupby([*CURVE, "seed", *([x] if x else [])])["data_label"].transform("nunique")
    return common[has == len(tasks)]


def average(runs: pd.DataFrame, x: str | None = None) -> pd.DataFrame:
    """The average over tasks of what `over_tasks` has left: a row per curve, x and seed."""
    keys = [*CURVE, "seed", *([x] if x else [])]
    return runs.groupby(keys, as_index=False)[["score", "majority", "trainable_parameters"]].mean()


def kinds(runs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Runs that may be averaged over tasks: a model, `miniature tasks` or `tasks`, and the runs of these.

    Runs on the held-back half of dev are apart.
    """
    kind = (runs["data_source"] == "bundled").map({True: "miniature tasks", False: "tasks"})
    kind += is_half(runs).map({True: f", {HALF}", False: ""})
    parts = runs.groupby(["model_label", kind], sort=False)
    return [(str(model), str(of), part) for (model, of), part in parts]  # pyright: ignore[reportGeneralTypeIssues]


def _said(runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return runs[columns].map(shown)


def _natural(name: str) -> list[tuple[bool, float, str]]:
    """Numbers within a name in order of their size, which the alphabet does not know."""
    pieces = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [(i % 2 == 1, float(each) if i % 2 else 0.0, each) for i, each in enumerate(pieces)]
