"""Which runs a number is of: those asked for, and never ones that differ in more than their seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from rankprobe.errors import RankprobeError, unknown
from rankprobe.prompts import METHODS
from rankprobe.runs import Frames
from rankprobe.training.config import methods_with, settable


def chosen(frames: Frames, where: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The rows of `frames.runs` that have the settings asked for.

    Args:
        frames: the runs.
        where: settings, each with the values it may have, as text; `unset` for none. A setting that only some
            methods have says nothing about the others.

    Raises:
        RankprobeError: there are no runs, no such setting, or no run with such a value.
    """
    runs = frames.runs
    if runs.empty:
        raise RankprobeError("there are no runs to make a table of; train some first: rankprobe train")
    for setting, wanted in where.items():
        if setting not in frames.settings:
            raise unknown("setting", setting, frames.settings)
        owners = methods_with(setting)
        concerned = runs["method"].isin([each for each in METHODS if not owners or setting in settable(each)])
        values = runs[setting].map(said)
        fits = values.isin([said(_number(each)) for each in wanted])
        if not (concerned & fits).any():
            there = ", ".join(sorted(set(values[concerned])))
            raise RankprobeError(f"no run has {setting} {' or '.join(wanted)}; there are: {there or 'none'}")
        runs = runs[fits | ~concerned]
    return runs


def check_alike(runs: pd.DataFrame, settings: Collection[str], what: str) -> None:
    """Refuse runs that differ in any of the settings.

    Raises:
        RankprobeError: they do; it names the settings, their values and the way to choose.
    """
    found = {name: runs[name].map(said) for name in settings if name in runs}
    differing = {name: values for name, values in found.items() if values.nunique() > 1}
    if differing:
        listed = " and ".join(f"{name} ({', '.join(sorted(set(v)))})" for name, v in differing.items())
        name, values = next(iter(differing.items()))
        raise RankprobeError(
            f"{what}: runs differ in {listed}; choose, such as --where {name}={values.mode()[0]}"
        )


def check_seeds(runs: pd.DataFrame, what: str) -> None:
    """Refuse runs of which two have the same seed: it would count twice.

    Raises:
        RankprobeError: two have.
    """
    twice = runs[runs["seed"].duplicated(keep=False)]
    if len(twice):
        names = " and ".join(twice.loc[twice["seed"] == twice["seed"].iloc[0], "run_id"])
        raise RankprobeError(
            f"{what}: seed {twice['seed'].iloc[0]} is there more than once, in {names}; move all but one away"
        )


def said(value: Any) -> str:
    """A setting's value as a user would type it."""
    if value is None or value != value:
        return "unset"
    return str(value).lower() if str(value) in ("True", "False") else str(value).removesuffix(".0")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
