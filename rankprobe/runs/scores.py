"""The score of a run to report, and the baseline score on the same dev rows.

With `report_split = half`, one half of dev selects the best prompt, and scores on the other half are
reported. The columns `last`, `best` and `baseline` are scores on the half that selects. All tables, figures
and listings therefore take their scores from this module.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from rankprobe.errors import RankprobeError, unknown
from rankprobe.runs.folder import Run

SCORES = ("last", "best")

HALF = "held-back half of dev"
"""The name of the rows on which a run with `report_split = half` is reported."""


def is_half(runs: pd.DataFrame) -> pd.Series:
    """Return for each run whether it is reported on the held-back half of dev."""
    return _column(runs, "report_split") == "half"


def reported(runs: pd.DataFrame, score: str) -> pd.Series:
    """Return the reported score of each run in percent; NaN if it is not known.

    Args:
        runs: rows of `Frames.runs`.
        score: `last` (at the last step) or `best` (at the step with the best score on the half of dev that
            selects, or on all of dev).

    Raises:
        RankprobeError: `score` is another name.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    return _on_reported_rows(runs, score, f"report_{score}")


def reported_baseline(runs: pd.DataFrame) -> pd.Series:
    """Return the baseline score (answers that ignore the texts) on the reported rows of each run; or NaN."""
    return _on_reported_rows(runs, "baseline", "report_baseline")


def scored_data_labels(runs: pd.DataFrame) -> pd.Series:
    """Return the data label of each run, followed by `HALF` if only that half is reported."""
    return runs["data_label"].where(~is_half(runs), runs["data_label"].astype(str) + f", {HALF}")


def baseline_from_log(run: Run, progress: dict[str, Any]) -> dict[str, Any]:
    """Return `report_baseline` from the log `evals`, for a manifest that has only the other report scores."""
    if "report_last" not in progress or "report_baseline" in progress:
        return {}
    try:
        log = run.log("evals")
    except RankprobeError:
        return {}
    rows = log[(log["split"] == "report") & (log["metric"] == progress["metric"])] if len(log) else log
    return {"report_baseline": float(rows["baseline"].iloc[0])} if len(rows) else {}


def _on_reported_rows(runs: pd.DataFrame, name: str, half_name: str) -> pd.Series:
    """Return column `half_name` for runs that are reported on the held-back half, `name` for other runs."""
    scores = _column(runs, name).where(~is_half(runs), _column(runs, half_name))
    return scores.astype(float)


def _column(runs: pd.DataFrame, name: str) -> pd.Series:
    return runs[name] if name in runs else pd.Series(float("nan"), index=runs.index, dtype=object)
