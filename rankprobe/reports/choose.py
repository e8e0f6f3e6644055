"""Select the runs of a table, and refuse runs that differ in more than their seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from rankprobe.config.run import free_settings, methods_with
from rankprobe.errors import RankprobeError, unknown
from rankprobe.prompts import METHODS
from rankprobe.runs import Frames


def select_runs(frames: Frames, where: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The rows of `frames.runs` whose settings have one of the given values.

    Args:
        frames: the runs.
        where: the accepted values of each setting, as text; `unset` means None. A setting that only some
            methods have does not exclude runs of the other methods.

    Raises:
        RankprobeError: there are no runs, a setting does not exist, or no run has one of its values.
    """
    runs = frames.runs
    if runs.empty:
        raise RankprobeError("no runs to make a table of; train some first: rankprobe train")
    for setting, accepted in where.items():
        if setting not in frames.settings:
            raise unknown("setting", setting, frames.settings)
        owners = methods_with(setting)
        concerned = runs["method"].isin([m for m in METHODS if not owners or setting in free_settings(m)])
        values = runs[setting].map(where_text)
        matching = values.isin([where_text(_number(value)) for value in accepted])
        if not (concerned & matching).any():
            available = ", ".join(sorted(set(values[concerned])))
            raise RankprobeError(
                f"no run has {setting} {' or '.join(accepted)}; there are: {available or 'none'}"
            )
        runs = runs[matching | ~concerned]
    return runs


def check_equal_settings(runs: pd.DataFrame, settings: Collection[str], what: str) -> None:
    """Refuse runs that differ in one of the settings.

    Raises:
        RankprobeError: the runs differ. The message starts with `what`, and names the settings, their values
            and a `--where` that selects one of them.
    """
    texts = {name: runs[name].map(where_text) for name in settings if name in runs}
    differing = {name: values for name, values in texts.items() if values.nunique() > 1}
    if differing:
        listed = " and ".join(f"{name} ({', '.join(sorted(set(v)))})" for name, v in differing.items())
        name, values = next(iter(differing.items()))
        raise RankprobeError(
            f"{what}: runs differ in {listed}; choose, such as --where {name}={values.mode()[0]}"
        )


def check_unique_seeds(runs: pd.DataFrame, what: str) -> None:
    """Refuse two runs with the same seed, because this seed would count twice.

    Raises:
        RankprobeError: two runs have the same seed. The message starts with `what`.
    """
    repeated = runs[runs["seed"].duplicated(keep=False)]
    if len(repeated):
        seed = repeated["seed"].iloc[0]
        names = " and ".join(repeated.loc[repeated["seed"] == seed, "run_id"])
        raise RankprobeError(f"{what}: seed {seed} has several runs, {names}; move all but one away")


def where_text(value: Any) -> str:
    """A setting's value as a user types it after `--where`: `unset`, `true`, `10` (also for 10.0), `0.3`."""
    if value is None or value != value:
        return "unset"
    return str(value).lower() if str(value) in ("True", "False") else str(value).removesuffix(".0")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
