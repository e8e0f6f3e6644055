"""The readings of runs next to each of their nulls, with verdicts and calibrated ranges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rankprobe.rank import Verdict, verdicts
from rankprobe.reports.findings import COMPARED, twin_values, values_of
from rankprobe.reports.tables import Table
from rankprobe.runs import Run
from rankprobe.twins import TWINS

READINGS = {
    "n_positive": "positive entries of σ",
    "P_numerical_rank": "numerical rank of P",
    "P_erank_rv": "effective rank of P",
    "P_stable_rank": "stable rank of P",
    "dP_numerical_rank": "numerical rank of ΔP",
    "dP_erank_rv": "effective rank of ΔP",
    "dP_stable_rank": "stable rank of ΔP",
}
"""Columns of the log `steps` that are compared with the same column of the twins, and their names."""

CALIBRATED = {
    "gavish_donoho": (1, 20, ("vanilla",)),
    "mp_edge": (1, 20, ("vanilla",)),
    "permutation_edge": (1, 20, ("vanilla",)),
    "functional_rank": (1, 10, ("vanilla", "probe without the ReLU")),
}
"""Planted ranks (from, to) that a reading recovers, and the methods for which this was measured.

Measured with `rankprobe calibrate` on prompts of 100 tokens and width 128; see docs/reading-a-rank.md. The
functional rank is within one of the planted rank there. Every other reading missed planted ranks, or was not
measured.
"""

CAPTION = (
    "Readings at the last logged step next to the same readings at the start and of the noise twins (means "
    "over seeds; ±: sample standard deviation). A verdict compares a reading with its twins; two readings "
    "are tested, because with more tests each would be weaker. Calibration: whether the reading recovers "
    "ranks that were planted."
)

DIFFERENCES = (
    "Reading minus null, mean over seeds, with its 99 % interval (Student's t, paired by seed). Counts "
    "have at least the variance of a rounding error, 1/12."
)


def pooled_verdicts(groups: Sequence[Sequence[Run]]) -> list[dict[str, Verdict]]:
    """The verdicts on the readings of several groups of seeds that share one report.

    The false discovery rate is controlled over all of them together, because they are read together.

    Args:
        groups: runs that differ only in their seed. Runs without a logged step are left out.

    Returns:
        The verdicts of each group by reading, for the readings in `findings.COMPARED`.
    """
    rows = [[row for run in runs if (row := run.readings())] for runs in groups]
    readings = {
        f"{i} {name}": (values_of(own, name), twin_values(own, name))
        for i, own in enumerate(rows)
        for name in COMPARED
    }
    results = verdicts(readings)
    return [{name: results[f"{i} {name}"] for name in COMPARED} for i in range(len(groups))]


def compared(runs: Sequence[Run], results: Mapping[str, Verdict]) -> Table:
    """A table of readings next to their nulls: a row per reading, with its verdict and its calibration.

    Only the readings in `findings.COMPARED` are tested; more tests would make each of them weaker.

    Args:
        runs: runs that differ only in their seed, each with a logged step.
        results: their verdicts, from `pooled_verdicts`.
    """
    lines: list[dict[str, Any]] = []
    for name, values, start, twins in _readings(runs):
        count = int(np.isfinite(values).sum())
        line: dict[str, Any] = {"reading": READINGS[name], "mean": float(np.nanmean(values))}
        if len(runs) > 1:
            line["±"] = float(np.nanstd(values, ddof=1)) if count > 1 else np.nan
        line |= {"seeds": count, "at the start": _mean(start)}
        line |= {TWINS[kind]: _mean(own) for kind, own in twins.items()}
        line["verdict"] = results[name].words if name in results else "not tested"
        lines.append(line | {"calibration": calibration_text(name)})
    frame = pd.DataFrame(lines)
    last = [name for name in ("verdict", "calibration") if name in frame]
    return Table(CAPTION, frame[[*(name for name in frame if name not in last), *last]], [])


def differences(runs: Sequence[Run]) -> Table | None:
    """The readings minus each null, with intervals over seeds; None for fewer than two runs.

    Args:
        runs: runs that differ only in their seed, each with a logged step.
    """
    if len(runs) < 2:
        return None
    lines = []
    for name, values, start, twins in _readings(runs):
        nulls = {"at the start": start} | {TWINS[kind]: own for kind, own in twins.items()}
        for null, found in verdicts({name: (values, nulls)})[name].differences.items():
            if found.seeds:
                row = {"reading": READINGS[name], "minus": null, "mean": found.mean}
                lines.append(row | {"from": found.low, "to": found.high, "seeds": found.seeds})
    return Table(DIFFERENCES, pd.DataFrame(lines), [], heading=("reading",))


def _readings(
    runs: Sequence[Run],
) -> Iterator[tuple[str, list[float], list[float], dict[str, list[float]]]]:
    """Yield name, values, values at the start, and values of each twin, one per run."""
    rows = [run.readings() for run in runs]
    starts = [_start(run) for run in runs]
    for name in READINGS:
        values = values_of(rows, name)
        if not np.isnan(values).all():
            yield name, values, values_of(starts, name), twin_values(rows, name)


def _mean(values: Sequence[float]) -> float:
    own = [value for value in values if value == value]
    return float(np.mean(own)) if own else math.nan


def calibration_text(reading: str, value: float = math.nan, method: str = "") -> str:
    """Whether a reading is inside the range in which planted ranks were recovered, in words.

    >>> calibration_text("functional_rank", 8, "vanilla")
    'inside its calibration (ranks 1 to 10)'
    >>> calibration_text("n_positive")
    'outside its calibration: it does not recover planted ranks'
    """
    if reading == "n_positive":
        return "outside its calibration: it does not recover planted ranks"
    if reading not in CALIBRATED:
        return "not calibrated"
    low, high, methods = CALIBRATED[reading]
    if method not in methods:
        return f"outside its calibration (measured for {' and '.join(methods)})"
    if not low <= value <= high:
        return f"outside its calibration (ranks {low} to {high})"
    return f"inside its calibration (ranks {low} to {high})"


def calibrated_method(config: Mapping[str, Any]) -> str:
    """The name of a run's method in `CALIBRATED`: a probe without its ReLU has a name of its own."""
    probe = config.get("method") == "probe" and config.get("gate") == "none"
    return "probe without the ReLU" if probe and not config.get("orthonormal") else str(config.get("method"))


def _start(run: Run) -> dict[str, Any]:
    """The first row of the log `steps`, if it is of step 0 or 1."""
    log = run.log("steps")
    first = log.iloc[0].to_dict() if len(log) else {}
    return {str(name): None if value != value else value for name, value in first.items()}
