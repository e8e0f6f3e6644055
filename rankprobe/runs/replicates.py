"""Replicates: runs that are the same but for the seed. Only this file says which runs those are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from rankprobe.runs.folder import Run
from rankprobe.settings import HARMLESS, flatten

SUBJECT = ("model_label", "data_label", "metric")
"""What a run is about, besides its settings: weights, data, and what its score is."""


def decisive(settings: Iterable[str], *free: str) -> list[str]:
    """The settings in which replicates agree: all but the seed, those without effect, and `free`."""
    return [name for name in settings if name not in {"seed", *HARMLESS, *free}]


def replicates(runs: pd.DataFrame, settings: Iterable[str], *free: str) -> pd.Series:
    """A number for each run; runs with the same number are the same but for the seed.

    Args:
        runs: rows of `Frames.runs`.
        settings: names of the settings, as in `Frames.settings`; those that `runs` lacks are ignored.
        free: further settings in which replicates may differ, such as the x axis of a curve.

    Returns:
        Numbers from 0 in order of first appearance, with the index of `runs`. Unset settings (None or NaN)
        are equal to each other; so are a whole number and the same float.
    """
    columns = [name for name in (*SUBJECT, *decisive(settings, *free)) if name in runs]
    columns = [name for name in dict.fromkeys(columns) if name not in free]
    keys = pd.Series(list(zip(*(runs[name].map(shown) for name in columns), strict=True)), dtype=object)
    numbers = pd.factorize(keys)[0] if columns else 0
    return pd.Series(numbers, index=runs.index, dtype=int)


def replicates_of(runs: Sequence[Run], *free: str) -> list[list[Run]]:
    """Runs in groups that are the same but for the seed, each seed once per group.

    A run that repeats a seed of an earlier one is no replicate of it; it goes into a further group.
    """
    rows = []
    for run in runs:
        manifest = run.manifest
        about = {"model_label": manifest["backbone"]["label"], "data_label": manifest["data"]["label"]}
        about |= {"metric": manifest["progress"].get("metric")}
        rows.append((about, flatten(manifest["config"])))
    frame = pd.DataFrame([about | config for about, config in rows])
    settings = list(dict.fromkeys(name for _, config in rows for name in config))
    groups: dict[tuple[Any, ...], list[Run]] = {}
    if runs:
        frame = frame.assign(group=replicates(frame, settings, *free))
        frame = frame.assign(repeat=frame.groupby(["group", "seed"]).cumcount())
        for run, key in zip(runs, zip(frame["group"], frame["repeat"], strict=True), strict=True):
            groups.setdefault(key, []).append(run)
    return list(groups.values())


def over_seeds(rows: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Mean, least and greatest of `value` over seeds, a row per combination of `keys`, sorted.

    Several rows of one seed count once, as their mean: a run that is there twice, under two names or on two
    devices, weighs no more than another. NaN is left out.

    Returns:
        `keys`, `mean`, `min`, `max`, and `n_seeds`, the number of seeds that have a value.
    """
    own = rows.groupby([*keys, "seed"], observed=True)[value].mean().reset_index()
    found = own.groupby(list(keys), observed=True)[value].agg(["mean", "min", "max", "count"])
    return found.reset_index().rename(columns={"count": "n_seeds"})


def shown(value: object) -> str:
    """A setting's value as people write it; the same text for the same value, whatever its type."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "unset"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.12g}" if number else str(value)
