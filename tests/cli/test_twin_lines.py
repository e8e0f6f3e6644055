"""Several noise twins in the tables and lines of the commands."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from rich.console import Console

from rankprobe.cli.progress import RunProgress
from rankprobe.cli.show import _twin_change, _with_twins
from rankprobe.runs.step_record import StepRecord

TWINS = {"gaussian_n_positive": 45, "haar_n_positive": 31, "flip_block_n_positive": 40}


@pytest.mark.parametrize(
    ("twins", "words"),
    [
        ({}, "σ>0 49"),
        ({"haar_n_positive": 31}, "σ>0 49 (twin 31)"),
        (TWINS, "σ>0 49 (twins 31–45)"),
        (TWINS | {"haar_n_positive": None}, "σ>0 49 (twins 40–45, 1 diverged)"),
        (dict.fromkeys(TWINS), "σ>0 49 (twins diverged)"),
    ],
)
def test_the_live_line_has_the_range(twins, words):
    console = Console(record=True, width=200)
    with RunProgress(console, several=False) as progress:
        row = {"loss": 1.0, "n_positive": 49, **twins}
        evals = [{"split": "validation", "metric": "accuracy", "value": 50.0, "baseline": 50.0}]
        progress(StepRecord("one", 6, 6, row, evals, torch.zeros(1), {}))
    assert console.export_text().rstrip().endswith(words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "49"),
        (TWINS, "49 (31–45)"),
        (TWINS | {"haar_lost": 4.0}, "49 (40–45, 1 diverged)"),
        ({"haar_n_positive": 31}, "49 (31)"),
        ({"haar_n_positive": float("nan")}, "49"),
        ({"haar_n_positive": float("nan"), "haar_lost": 4.0}, "49 (diverged)"),
    ],
)
def test_a_table_has_the_range(row, words):
    assert _with_twins({"n_positive": 49} | row, "n_positive") == words


@pytest.mark.parametrize(
    ("twins", "row", "words"),
    [
        ({}, {}, ""),
        ({"gaussian_n_positive": 45}, {}, "noise twin 100 → 45"),
        (TWINS, {}, "noise twins 100 → 31–45"),
        (TWINS, {"haar_lost": 4.0}, "noise twins 100 → 40–45, Haar twin diverged at step 4"),
        ({"gaussian_n_positive": None}, {"gaussian_lost": 4.0}, "noise twin diverged at step 4"),
    ],
)
def test_a_summary_has_the_change_of_the_range(twins, row, words):
    first, last = (pd.Series(values, dtype=object) for values in (dict.fromkeys(twins, 100), twins))
    assert _twin_change(first, last, "n_positive", pd.Series(row, dtype=object)) == words
