"""The table of the rank used: functional ranks over seeds, with intervals. Not in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankprobe.errors import RankprobeError
from rankprobe.rank import mean_interval, share_interval
from rankprobe.reports.blocks import DATA_NAMES
from rankprobe.reports.choose import check_unique_seeds, select_runs
from rankprobe.reports.tables import Table, check_score
from rankprobe.runs import Frames, Run, replicates, setting_text, shared_settings

CUT = ("prompt", "order")
"""Columns of a functional rank that say how the prompt was truncated. Rows differ in them as in settings."""

FREE = ("twin", "eval_every")
"""Settings that do not change the last score."""

CAPTION = (
    "Functional rank (not in the paper): the least number of singular directions of P, or of ΔP added to P0, "
    "from which on 95 % of the gain over the baseline is kept. Mean over the seeds that learned: whose score "
    "exceeds the baseline. From low to high: 95 % intervals, of the mean over seeds and dev examples, and of "
    "the share of seeds that learn (Clopper and Pearson)."
)

CLEAR_SHARE = 0.95
"""A gain is clear if at least this share of the resamples of the examples show one."""

UNCLEAR_GAIN = "The gain itself is not clear on so few examples, so neither is this rank."
"""Said of a functional rank whose gain is not clear."""


def used(frames: Frames, score: str = "last", where: Mapping[str, Sequence[str]] | None = None) -> Table:
    """Functional ranks of finished runs on true labels: a row per group of runs that differ in their seed.

    Args:
        frames: the runs; runs without results of `rankprobe truncate` are ignored.
        score: has no effect. A rank is of the final prompt, or of the best one if only that was truncated.
        where: the accepted values of settings; see `choose.select_runs`.

    Returns:
        Numbers of seeds and of those that learned, the interval of this share in percent, and for P and dP
        mean and interval. Files of earlier versions give no interval of a mean over several seeds.

    Raises:
        RankprobeError: an unknown score, no run has a functional rank, or two runs of one row have the same
            seed.
    """
    check_score(score)
    runs = select_runs(frames, where or {})
    runs = runs[(runs["status"] == "finished") & (runs["control"] == "none")]
    ranks = {row["run_id"]: _ranks(row["path"]) for row in runs.to_dict("records")}
    runs = runs[runs["run_id"].map(ranks).map(bool)].reset_index(drop=True)
    if runs.empty:
        raise RankprobeError("no finished run has a functional rank; measure it: rankprobe truncate RUN")
    cut = [ranks[run_id]["P"] for run_id in runs["run_id"]]
    runs = runs.assign(**{name: pd.Series([row.get(name) for row in cut], dtype=object) for name in CUT})
    settings = shared_settings([*frames.settings, *CUT], *FREE)
    rows, notes = [], []
    for _, part in runs.groupby(["model_label", "data_label", "method"], sort=False):
        varying = [name for name in settings if name in part and part[name].map(setting_text).nunique() > 1]
        for _, group in part.groupby(replicates(part, settings)):
            first = group.iloc[0].to_dict()
            title = ", ".join(
                [first["method"], *(f"{name} = {setting_text(first[name])}" for name in varying)]
            )
            check_unique_seeds(group, f"{title} of {first['model_label']} on {first['data_label']}")
            data = f"{first['data_label']} ({DATA_NAMES[first['data_source']]})"
            about = {"model": first["model_label"], "data": data, "method": title}
            seeds = [ranks[run_id] for run_id in group["run_id"]]
            rows.append(about | _row(seeds))
            if has_unclear_gain([each["P"] for each in seeds]):
                notes.append(f"{title}, {first['model_label']}, {data}: {UNCLEAR_GAIN}")
    return Table(CAPTION, pd.DataFrame(rows), notes, heading=("model", "data"))


def _ranks(path: str) -> dict[str, dict[str, Any]]:
    """The functional ranks of a run by matrix; empty before `rankprobe truncate`."""
    return {row["matrix"]: row for row in (Run(Path(path)).truncation() or {}).get("functional_rank", [])}


def _row(seeds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The numbers of one group of seeds, from their functional ranks by matrix."""
    learned = [ranks for ranks in seeds if ranks["P"]["functional_rank"] is not None]
    low, high = share_interval(len(learned), len(seeds))
    row: dict[str, Any] = {"seeds": len(seeds), "learned": len(learned)}
    row |= {"learned low %": 100 * low, "learned high %": 100 * high}
    for matrix in ("P", "dP"):
        own = [ranks[matrix] for ranks in learned if matrix in ranks]
        mean = float(np.mean([each["functional_rank"] for each in own])) if own else np.nan
        limits = rank_interval(own)
        row |= {matrix: mean, f"{matrix} low": limits[0], f"{matrix} high": limits[1]}
    return row


def has_unclear_gain(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether too many resamples of a seed with a functional rank have no gain over the baseline.

    Args:
        rows: functional ranks of the seeds.
    """
    shares = [row.get("defined", 1) for row in rows if row["functional_rank"] is not None]
    return min(shares, default=1) < CLEAR_SHARE


def rank_interval(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The 95 % interval of the mean functional rank of some seeds; of a single seed its own.

    Args:
        rows: the functional rank of each seed, as `evaluation.functional_rank` returns it.

    Returns:
        The limits; NaN without rows, or if a file of an earlier version lacks the ranks of the resamples.
    """
    if len(rows) == 1:
        low, high = (np.nan if rows[0][name] is None else float(rows[0][name]) for name in ("low", "high"))
        return low, high
    resampled = [row.get("resampled") for row in rows]
    if not resampled or not all(resampled) or len({len(each or []) for each in resampled}) > 1:
        return np.nan, np.nan
    return mean_interval(np.array(resampled, dtype=np.float64))
