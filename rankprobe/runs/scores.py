"""Which score of a run is reported, and which score needs no reading of the same dev rows.

A run with `report_split = half` chooses its best prompt on one half of dev and is reported on the other; the
columns `last`, `best` and `majority` are those of the half that chooses. So every table, figure and listing
takes its scores from here.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from rankprobe.errors import RankprobeError, unknown
from rankprobe.runs.folder import Run

SCORES = ("last", "best")

HALF = "held-back half of dev"
"""What the rows are called that a run with `report_split = half` is reported on."""


def is_half(runs: pd.DataFrame) -> pd.Series:
    """Whether each run is reported on the held-back half of dev."""
    return _column(runs, "report_split") == "half"


def reported(runs: pd.DataFrame, score: str) -> pd.Series:
    """The reported score of each run in percent, NaN where it is not known.

    Args:
        runs: rows of `Frames.runs`.
        score: `last`, of the last step; or `best`, of the step with the best score on the dev rows that
            choose it.

    Raises:
        RankprobeError: `score` is neither of them.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    return _of_reported_rows(runs, score, f"report_{score}")


def reported_majority(runs: pd.DataFrame) -> pd.Series:
    """The score without reading, on the rows that each run is reported on; NaN where it is not known."""
    return _of_reported_rows(runs, "majority", "report_majority")


def scored_rows(runs: pd.DataFrame) -> pd.Series:
    """The label of each run's data, with `HALF` where its scores are of that half only."""
    return runs["data_label"].where(~is_half(runs), runs["data_label"].astype(str) + f", {HALF}")


def majority_from_log(run: Run, progress: dict[str, Any]) -> dict[str, Any]:
    """`report_majority` of a run whose manifest has the scores of the held-back half only: from its evals."""
    if "report_last" not in progress or "report_majority" in progress:
        return {}
    try:
        log = run.log("evals")
    except RankprobeError:
        return {}
    own = log[(log["split"] == "report") & (log["metric"] == progress["metric"])] if len(log) else log
    return {"report_majority": float(own["majority"].iloc[0])} if len(own) else {}


def _of_reported_rows(runs: pd.DataFrame, of_all: str, of_half: str) -> pd.Series:
    half = is_half(runs)
    found = _column(runs, of_all).where(~half, _column(runs, of_half))
    return found.astype(float)


def _column(runs: pd.DataFrame, name: str) -> pd.Series:
    return runs[name] if name in runs else pd.Series(float("nan"), index=runs.index, dtype=object)
