"""The probe's count with its nulls, and the rank used: artists against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from fake_runs import frames, grid, legend, lines, run

from rankprobe.errors import RankprobeError
from rankprobe.plots import FIGURES, controls, length, used
from rankprobe.plots import grid as over_rates


def truncated(*runs: dict, ranks: list[float | None]):
    """Frames of runs with score 50 + 10 k + seed at k directions, and with the given functional ranks."""
    loaded = frames(*runs)
    rows = [
        {
            "run_id": run["run_id"],
            "matrix": matrix,
            "kept": "top",
            "k": k,
            "metric": "accuracy",
            "split": "validation",
        }
        | {"value": 50.0 + 10 * k * (matrix == "P") + run["seed"], "baseline": 50.0}
        for run in loaded.runs.to_dict("records")
        for matrix in ("P", "dP")
        for k in (0, 1, 2)
    ]
    table = pd.DataFrame(rows).astype({"run_id": "category"})
    return dataclasses.replace(loaded, runs=loaded.runs.assign(functional_rank=ranks), truncation=table)


def test_grid_has_a_curve_per_initial_diagonal_and_a_twin_for_each():
    runs = grid(method="probe", learning_rate=[0.01, 0.3], sigma_init=["ones", "uniform"], seed=[1, 3])
    runs += [
        run(method="probe", learning_rate=0.01, control="shuffle-labels"),
        run(method="probe", task="cb"),
    ]
    figure = over_rates(frames(*runs))
    (axes,) = figure.axes
    found = lines(axes)
    assert found["initial σ = ones"] == ([0.01, 0.3], [42, 42])
    assert found["initial σ = uniform, noise twin"] == ([0.01, 0.3], [52, 52])
    styles = {line.get_label(): line.get_linestyle() for line in axes.get_lines()}
    assert styles["initial σ = ones"] == "-" != styles["initial σ = ones, noise twin"]
    assert axes.collections[0].get_paths()[0].vertices[:, 1].min() == 41
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 43
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "peak learning rate",
        "positive entries of σ, last step",
    )
    assert legend(figure)[0] == "mean of 2 seeds, band: least to greatest"
    assert axes.get_ylim()[0] == 0


def test_controls_are_drawn_with_true_labels_and_the_twin():
    runs = grid(method="probe", task=["cb", "rte"], control=["none", "shuffle-labels"], seed=[1, 3])
    for row in runs:
        row["n_positive"] += 10 * (row["control"] == "shuffle-labels")
    figure = controls(frames(*runs, run(method="probe", task="wic")))
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["miniature CB", "miniature RTE"]
    marks = {}
    for line in axes.get_lines():
        marks.setdefault(line.get_label(), []).extend(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert marks["true labels"] == [(42, -0.2), (42, 0.8)]
    assert marks["labels of other rows"] == [(52, 0), (52, 1)]
    assert marks["noise twin"] == [(52, 0.2), (52, 1.2)]
    assert marks["all entries"][0][0] == 110
    assert axes.collections[0].get_segments()[0][:, 0].tolist() == [41, 43]
    assert legend(figure)[1] == ["true labels", "labels of other rows", "noise twin", "all entries"]


def with_haar(rows: list[dict]) -> list[dict]:
    """The runs with a second twin, with ten more positive entries than the first."""
    return [row | {"haar_n_positive": row["gaussian_n_positive"] + 10} for row in rows]


def test_grid_draws_several_twins_as_an_area():
    runs = grid(method="probe", learning_rate=[0.01, 0.3], sigma_init=["ones", "uniform"], seed=[1, 3])
    figure = over_rates(frames(*with_haar(runs)))
    (axes,) = figure.axes
    edges = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in edges] == [[52, 52], [62, 62]] * 2
    assert edges[0].get_label() == "initial σ = ones, noise twins"
    assert legend(figure)[0].replace("\n", " ") == (
        "mean of 2 seeds, band: least to greatest; noise twins: from the lowest to the highest mean of Gaussian "
        "and Haar twins"
    )


def test_controls_draw_several_twins_on_one_line():
    runs = grid(method="probe", control=["none", "shuffle-labels"], seed=[1, 3])
    figure = controls(frames(*with_haar(runs)))
    (axes,) = figure.axes
    marks = {str(line.get_label()): line for line in axes.get_lines()}
    for name, x, marker in (("Gaussian twin", 52, "^"), ("Haar twin", 62, "v")):
        assert (marks[name].get_xdata()[0], marks[name].get_ydata()[0]) == (x, 0.2)
        assert marks[name].get_marker() == marker
    assert legend(figure)[1] == [
        "true labels", "labels of other rows", "Gaussian twin", "Haar twin", "all entries"
    ]  # fmt: skip


def test_used_has_a_curve_per_method_and_a_ring_at_its_rank():
    loaded = truncated(run(seed=1), run(seed=3), run(method="vanilla"), ranks=[1, 2, None])
    figure = used(loaded)
    (axes,) = figure.axes
    assert lines(axes)["dpt"] == ([0, 1, 2], [52, 62, 72])
    assert lines(axes)["vanilla"] == ([0, 1, 2], [51, 61, 71])
    assert lines(axes)["functional rank"] == ([1.5], [67])
    assert legend(figure)[1] == ["vanilla", "dpt", "baseline", "functional rank"]
    assert axes.get_xlabel() == "singular directions kept k"
    assert axes.get_ylabel() == "validation accuracy (%)"


def test_length_has_the_rank_over_n_with_bars_and_the_maximum():
    loaded = truncated(
        *grid(prompt_length=[10, 100], seed=[1, 2]), run(method="vanilla"), ranks=[1, 3, 4, 4, None]
    )
    figure = length(loaded)
    (axes,) = figure.axes
    assert lines(axes)["dpt"] == ([10, 100], [2, 4])
    assert lines(axes)["rank = n"] == ([10, 100], [10, 100])
    assert axes.collections[0].get_segments()[0][:, 1].tolist() == [1, 3]
    assert legend(figure) == ("mean of 2 seeds, bar: least to greatest", ["dpt", "rank = n"])
    assert "run4" not in figure.get_label().splitlines()


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("grid", "finished runs of the probe"),
        (
            "controls",
            "finished runs of the probe on true labels and, with --control shuffle-labels, on wrong labels",
        ),
        ("used", "finished runs with truncation curves"),
        ("length", "finished runs with a functional rank"),
    ],
)
def test_without_runs_the_error_says_what_is_needed(name, needs):
    for loaded in (frames(), frames(run()), frames(run(method="probe", status="running"))):
        with pytest.raises(RankprobeError) as error:
            FIGURES[name](loaded)
        assert str(error.value).startswith(f"{name} needs {needs}, and there are none; make some: rankprobe ")
