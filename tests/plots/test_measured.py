"""Truncation curves and spectra contain the values they were given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from test_plots import frames

from rankprobe.errors import RankprobeError
from rankprobe.plots import save_figure, spectra, truncation
from rankprobe.plots.truncation import CURVES
from rankprobe.rank import FLIPS, permutation_edge, signflip_edge, signflipped, singular_values


def truncated(*runs: dict):
    """Frames with truncation curves that rise by one point per direction; the seed shifts the curve."""
    plain = frames(*runs)
    rows = [
        {"run_id": run["run_id"], "matrix": matrix, "kept": kept, "k": k, "value": 90.0 + k + run["seed"]}
        | {"metric": metric, "baseline": 50.0, "split": "validation"}
        for run in plain.runs.to_dict("records")
        for matrix, kept in CURVES
        for metric in ("accuracy", "macro_f1")
        for k in (0, 1, 5)
    ]
    return dataclasses.replace(plain, truncation=pd.DataFrame(rows))


def test_a_panel_has_the_four_curves_and_the_baseline():
    figure = truncation(truncated({}))
    (axes,) = figure.axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()}
    assert lines.pop("baseline") == [50, 50]
    assert lines == {label: [91, 92, 96] for label, _, _ in CURVES.values()}
    assert figure.get_label() == "run0"


def test_seeds_are_averaged_and_groups_are_separate():
    figure = truncation(truncated({"seed": 1}, {"seed": 3}, {"learning_rate": 0.1}))
    first, second = figure.axes
    assert list(first.get_lines()[0].get_ydata()) == [92, 93, 97]
    assert list(second.get_lines()[0].get_ydata()) == [91, 92, 96]


def test_without_truncation_curves_the_error_names_the_command():
    with pytest.raises(RankprobeError, match="make them first: rankprobe truncate RUN"):
        truncation(frames({}))


def test_spectra_have_their_edges(tmp_path):
    matrix = np.random.default_rng(0).standard_normal((6, 9))
    figure = spectra([("one", matrix), ("two", np.zeros((3, 4)))])
    first, second = figure.axes
    null, points, shuffled, white = first.get_lines()
    flipped = np.linalg.svd(signflipped(matrix, FLIPS), compute_uv=False)
    np.testing.assert_allclose(null.get_ydata(), flipped.mean(axis=0))
    assert np.asarray(null.get_ydata()).max() < signflip_edge(matrix)
    np.testing.assert_allclose(points.get_ydata(), singular_values(matrix))
    assert np.asarray(shuffled.get_ydata())[0] == permutation_edge(matrix)
    size = np.linalg.norm(matrix) / np.sqrt(54) * (np.sqrt(6) + 3)
    assert np.asarray(white.get_ydata())[0] == pytest.approx(size)
    assert np.isnan(second.get_lines()[0].get_ydata()).all()
    assert len(second.get_lines()) == 2
    save_figure(figure, tmp_path / "new" / "s.svg")
    assert (tmp_path / "new" / "s.svg").stat().st_size > 1000
