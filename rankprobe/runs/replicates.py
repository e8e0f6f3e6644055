"""Replicates: runs that differ only in their seed. Only this module decides which runs are replicates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from rankprobe.runs.folder import MANIFEST, Run
from rankprobe.settings import HARMLESS

SUBJECT = ("model_label", "data_label", "metric")
"""Columns other than settings in which replicates agree: weights, data and metric."""


def shared_settings(settings: Iterable[str], *free: str) -> list[str]:
    """Return the settings in which replicates agree: all but the seed, `HARMLESS` settings, and `free`."""
    return [name for name in settings if name not in {"seed", *HARMLESS, *free}]


def replicates(runs: pd.DataFrame, settings: Iterable[str], *free: str) -> pd.Series:
    """Return a group number for each run; runs with the same number are replicates.

    Args:
        runs: rows of `Frames.runs`.
        settings: names of settings, as in `Frames.settings`; names that are not columns of `runs` are
            ignored.
        free: more settings in which replicates may differ, for example the x axis of a curve.

    Returns:
        Numbers from 0 in order of first appearance, with the index of `runs`. Unset values (None and NaN) are
        equal to each other; an integer and the same float are equal too.
    """
    columns = [name for name in (*SUBJECT, *shared_settings(settings, *free)) if name in runs]
    columns = [name for name in dict.fromkeys(columns) if name not in free]
    keys = pd.Series(
        list(zip(*(runs[name].map(setting_text) for name in columns), strict=True)), dtype=object
    )
    numbers = pd.factorize(keys)[0] if columns else 0
    return pd.Series(numbers, index=runs.index, dtype=int)


def replicates_of(runs: Sequence[Run], *free: str) -> list[list[Run]]:
    """Group runs into replicates; a group has each seed at most once.

    A run with the same settings and seed as an earlier run goes into another group.
    """
    if not runs:
        return []
    rows = []
    for run in runs:
        manifest = run.manifest
        subject = {
            "model_label": manifest["backbone"]["label"],
            "data_label": manifest["data"]["label"],
            "metric": manifest["progress"].get("metric"),
        }
        rows.append((subject, manifest["config"]))
    frame = pd.DataFrame([subject | config for subject, config in rows])
    settings = list(dict.fromkeys(name for _, config in rows for name in config))
    frame = frame.assign(group=replicates(frame, settings, *free))
    frame = frame.assign(repeat=frame.groupby(["group", "seed"]).cumcount())
    groups: dict[tuple[int, int], list[Run]] = {}
    for run, group, repeat in zip(runs, frame["group"], frame["repeat"], strict=True):
        groups.setdefault((group, repeat), []).append(run)
    return list(groups.values())


def over_seeds(rows: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Return mean, minimum and maximum of `value` over seeds, one row per combination of `keys`, sorted.

    Rows of the same seed are averaged first, so a run that exists twice (under two names, or on two devices)
    has the same weight as the others. NaN is ignored.

    Returns:
        `keys`, `mean`, `min`, `max`, and `n_seeds`, the number of seeds that have a value.
    """
    seed_means = rows.groupby([*keys, "seed"], observed=True)[value].mean().reset_index()
    summary = seed_means.groupby(list(keys), observed=True)[value].agg(["mean", "min", "max", "count"])
    return summary.reset_index().rename(columns={"count": "n_seeds"})


def setting_text(value: object) -> str:
    """Return the value of a setting as text. Equal values give the same text, whatever their types.

    >>> setting_text(8.0), setting_text(8), setting_text(None), setting_text([1, 2])
    ('8', '8', 'unset', '[1, 2]')
    """
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "unset"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(setting_text, value))}]"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.12g}" if is_number else str(value)


def runs_by_replicate(places: Iterable[Path]) -> list[list[Run]]:
    """Return the run folders among `places` as runs, each once, grouped with their replicates.

    Runs of one group may also differ in how often they were evaluated.
    """
    runs = {place.resolve(): Run(place) for place in places if (place / MANIFEST).is_file()}
    return replicates_of(list(runs.values()), "eval_every")
