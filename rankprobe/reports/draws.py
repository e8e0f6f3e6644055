"""The place of one run's reading among many noise twins of this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rankprobe.rank import erank_rv, place, sign_counts
from rankprobe.runs import Run
from rankprobe.twins import MIN_DRAWS, REPEATED, TWINS, further_draws, twin_prefix

MATRICES = {"n_positive": "sigma", "P_erank_rv": "P"}
"""The matrix in the log `spectra` from which a reading of a further draw is taken."""


def places(run: Run, row: Mapping[str, Any], reading: str) -> list[str]:
    """Where the reading of a run is among its Gaussian twins and among its Haar twins, in words.

    A kind of which fewer than twenty twins have the reading, as others diverged, has no words.

    Args:
        run: has words if it has ended and was trained with `twin_draws` of at least 20.
        row: its readings at the last step.
        reading: `n_positive` or `P_erank_rv`.
    """
    draws = run.manifest["config"].get("twin_draws", 1)
    if draws < MIN_DRAWS or row.get(reading) is None:
        return []
    log = run.log("spectra")
    if log.empty:
        return []
    log = log[log["step"] == row["step"]].sort_values("index")
    vectors = {str(name): part["value"].to_numpy(float) for name, part in log.groupby("matrix")}
    words = []
    for kind in REPEATED:
        names = [f"{twin_prefix(name)}{MATRICES[reading]}" for name in further_draws([kind], draws)]
        found = [_read(vectors[name], reading) for name in names if name in vectors]
        if (first := row.get(f"{twin_prefix(kind)}{reading}")) is not None:
            found.append(float(first))
        if len(found) >= MIN_DRAWS:
            words.append(place(float(row[reading]), found, f"{TWINS[kind]}s").words)
    return words


def _read(vector: np.ndarray, reading: str) -> float:
    if reading == "n_positive":
        return float(sign_counts(vector)["n_positive"])
    return float(erank_rv(vector, (len(vector), len(vector))))
