"""A short soak test, and what counts as a leak. `make faults` runs the long soak test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soak


@pytest.fixture
def hour():
    """An hour of measurements of a process that does not grow."""
    minutes, noise = np.arange(0, 60, 0.1), np.random.default_rng(0)
    rows = {"minute": minutes, "resident_mib": 600 + noise.normal(size=600), "open_files": 8, "threads": 5}
    return pd.DataFrame(rows)


def test_a_round_of_work_does_its_work(tmp_path):
    soak.round_of_work(0, tmp_path)
    assert {run.status for run in soak.rp.list_runs(tmp_path / "runs")} == {"finished"}
    assert list((tmp_path / "figures").glob("*.png"))


def test_a_constant_process_passes(hour):
    lines, flat = soak.verdict(hour)
    assert flat
    assert "open files: at most 8 in the first half, 8 in the second" in lines
    hour.loc[:50, "resident_mib"] = 100  # libraries are still being loaded
    assert soak.verdict(hour)[1]


@pytest.mark.parametrize(("column", "grows"), [("resident_mib", 10.0), ("open_files", 3), ("threads", 3)])
def test_a_growing_process_fails(hour, column, grows):
    hour[column] += (grows * hour["minute"] / 60).round(0 if column != "resident_mib" else 3)
    lines, flat = soak.verdict(hour)
    assert not flat, lines
