"""Figures hold the scores that are reported, never mix replicates with others, and show names as they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from made import SETTINGS, frames, grid, legend, lines, run
from matplotlib.text import Text
from test_plots import frames as logged

from rankprobe.plots import (
    controls,
    fig1,
    fig3,
    fig5,
    fig6,
    groups,
    length,
    save_figure,
    spectra,
    truncation,
    used,
)
from rankprobe.plots.curves import named, points, scored
from rankprobe.runs import Frames

NAME = "$x_1$ _50%_ \\alpha\nb $"
"""What a user may call a task or a model."""


def half(**changes) -> dict:
    """A run on the held-back half: 30 + seed after the last step, 40 + seed at the best, 20 without reading."""
    made = run(**changes)
    seed = made["seed"]
    own = {"report_last": 30.0 + seed, "report_best": 40.0 + seed, "report_majority": 20.0}
    return made | {"report_split": "half"} | own


def halves(*runs: dict) -> Frames:
    return dataclasses.replace(frames(*runs), settings=[*SETTINGS, "report_split"])


@pytest.mark.parametrize(("score", "mean"), [("last", 32.0), ("best", 42.0)])
@pytest.mark.parametrize("figure", [fig5, fig6])
def test_curves_are_of_the_reported_half(figure, score, mean):
    made = halves(*(half(bottleneck=b, prompt_length=10 * b, seed=s) for b in (2, 10) for s in (1, 3)))
    made.runs["prompt_length" if figure is fig5 else "bottleneck"] = 10
    (axes,) = figure(made, score=score).axes
    found = lines(axes)
    assert found["dpt"][1] == [mean, mean]
    assert found["majority"][1] == [20, 20]
    assert axes.get_title() == "miniature RTE, held-back half of dev\ntiny (rankprobe's own)"


def test_halves_and_wholes_are_in_panels_of_their_own():
    made = halves(*grid(bottleneck=[2, 10]), *(half(bottleneck=b) for b in (2, 10)))
    panels = {axes.get_title().partition("\n")[0]: lines(axes)["dpt"][1] for axes in fig5(made).axes}
    assert panels == {"miniature RTE": [61, 61], "miniature RTE, held-back half of dev": [31, 31]}
    titles = [axes.get_title().partition("\n")[2].replace("\n", " ") for axes in fig1(made).axes]
    assert titles == ["mean of 1 miniature tasks", "mean of 1 miniature tasks, held-back half of dev"]


def test_a_run_without_its_reported_score_is_not_drawn():
    made = halves(half(), half(seed=2) | {"report_last": None})
    assert scored(made, "last")["run_id"].tolist() == ["run0"]


def test_settings_that_change_no_result_make_no_curve_of_their_own():
    runs = [run(), run(seed=2) | {"device": "cuda", "rank_every": 5, "twin": False}, run(seed=2)]
    made = dataclasses.replace(frames(*runs), settings=[*SETTINGS, "device", "rank_every", "twin"])
    found = named(made, scored(made, "last"))
    assert found["curve"].tolist() == ["dpt"] * 3
    assert points(found)[["mean", "n_seeds"]].to_numpy().tolist() == [[61.5, 2]]


def test_panels_group_alike_whatever_a_setting_is():
    made = logged({}, {"seed": 2}, {"learning_rate": 0.1})
    texts = pd.Series([[1, 2], [1, 2], [1, 2]])
    made.runs[["layers", "shots", "device"]] = pd.DataFrame(
        {"layers": texts, "shots": [None, np.nan, None], "device": ["cpu", "cuda", "cpu"]}
    )
    made = dataclasses.replace(made, settings=[*made.settings, "layers", "shots", "device"])
    assert [group.run_ids for group in groups(made)] == [["run0", "run1"], ["run2"]]


def test_a_mean_over_steps_is_of_the_same_seeds_at_each_step():
    made = logged({"seed": 1}, {"seed": 3})
    rare = (made.steps["run_id"] == "run1") & (made.steps["step"] % 2 == 1)
    made.steps.loc[rare, "P_erank_rv"] = np.nan
    (group,) = groups(made)
    assert group.band("P_erank_rv").index.tolist() == [0, 2, 4]
    ended = dataclasses.replace(
        made, steps=made.steps[(made.steps["run_id"] != "run1") | (made.steps["step"] < 3)]
    )
    (group,) = groups(ended)
    assert group.band("n_positive").index.tolist() == [0, 1, 2, 3, 4]


def cuts(runs: Frames, ks: list[list[int]], ranks: list[float | None], **columns) -> Frames:
    """Runs cut at these k: they score 50 + 10 k + seed, on rows whose majority is 45."""
    rows = [
        {
            "run_id": each["run_id"],
            "matrix": "P",
            "kept": "top",
            "k": k,
            "value": 50.0 + 10 * k + each["seed"],
        }
        | {
            "metric": each.get("metric", "accuracy"),
            "majority": 45.0,
            "split": "validation",
            "prompt": "final",
        }
        for each, own in zip(runs.runs.to_dict("records"), ks, strict=True)
        for k in own
    ]
    table = pd.DataFrame(rows).assign(**columns)
    return dataclasses.replace(runs, runs=runs.runs.assign(functional_rank=ranks), truncation=table)


def test_a_used_rank_weighs_each_run_once():
    """One run was cut at two k and has rank 1, another at five and has rank 4: the mean is 2.5, not 3.1."""
    (axes,) = used(cuts(frames(run(seed=1), run(seed=3)), [[0, 5], [0, 1, 2, 3, 5]], [1.0, 4.0])).axes
    assert lines(axes)["functional rank"][0] == [2.5]


def test_a_used_curve_is_over_the_k_that_all_its_seeds_have():
    figure = used(cuts(frames(run(seed=1), run(seed=3)), [[0, 1, 5], [0, 2, 5]], [1.0, 4.0]))
    (axes,) = figure.axes
    assert lines(axes)["dpt"] == ([0, 5], [52, 102])
    assert legend(figure)[0].replace("\n", " ") == (
        "mean of 2 seeds, band: least to greatest; values of k that only some seeds were cut at are left out"
    )
    figure = truncation(cuts(logged({"seed": 1}, {"seed": 3}), [[0, 1, 5], [0, 2, 5]], [1.0, 4.0]))
    (axes,) = figure.axes
    assert lines(axes)["largest of P"] == ([0, 5], [52, 102])
    assert legend(figure)[0] == "values of k that only some seeds were cut at are left out"


def test_the_majority_of_a_cut_is_that_of_the_rows_it_was_scored_on():
    (axes,) = used(cuts(halves(half()), [[0, 5]], [1.0], split="report")).axes
    assert lines(axes)["majority"][1] == [45, 45]
    assert axes.get_ylabel() == "report accuracy (%)"
    assert "held-back half of dev" in axes.get_title()


def test_cuts_of_other_prompts_are_not_averaged():
    prompts = ["final", "final", "best", "best"]
    figure = used(cuts(frames(run(seed=1), run(seed=2)), [[0, 5], [0, 5]], [1.0, 4.0], prompt=prompts))
    assert legend(figure)[1][:2] == ["dpt, prompt = best", "dpt, prompt = final"]
    two = truncation(cuts(logged({"seed": 1}, {"seed": 2}), [[0, 5], [0, 5]], [1.0, 4.0], prompt=prompts))
    assert [axes.get_title().splitlines()[-1] for axes in two.axes] == [
        "prompt = final, split = validation",
        "prompt = best, split = validation",
    ]


def test_runs_without_a_functional_rank_are_counted():
    made = cuts(frames(*grid(prompt_length=[10, 100], seed=[1, 2])), [[0, 5]] * 4, [1.0, 3.0, 4.0, None])
    for figure in (used, length):
        (axes,) = figure(made).axes
        assert axes.get_title().splitlines()[-1] == "no functional rank: 1 of 4 runs"


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are(tmp_path):
    shown = NAME.replace("\n", "\\n")
    made = frames(*grid(bottleneck=[2, 10], data_label=NAME, model_label=NAME, learning_rate=[0.1, "$y$"]))
    three = logged({})
    three.runs[["data_label", "model_label"]] = NAME
    figures = {
        "fig5": (fig5(made), f"{shown}\n{shown}"),
        "fig3": (fig3(three), f"probe on {shown}\n{shown}"),
        "spectra": (spectra([(NAME, np.diag([1.0, 20.0, 300.0]))]), shown),
    }
    for name, (figure, title) in figures.items():
        assert figure.axes[0].get_title() == title
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
        save_figure(figure, tmp_path / f"{name}.svg")
        assert title.partition("\n")[0] in (tmp_path / f"{name}.svg").read_text()
        save_figure(figure, tmp_path / f"{name}.png")
    assert "mathdefault" not in (tmp_path / "spectra.svg").read_text()
    assert "dpt, learning_rate = $y$" in legend(figures["fig5"][0])[1]


@pytest.mark.filterwarnings("error")
def test_very_long_names_leave_room_for_the_panel(tmp_path):
    long = {"data_label": "_".join(["name"] * 60), "model_label": "_".join(["name"] * 60)}
    probes = grid(method="probe", control=["none", "shuffle-labels"], **long)
    for figure in (fig5(frames(*grid(bottleneck=[2, 10], **long))), controls(frames(*probes))):
        save_figure(figure, tmp_path / "long.png")
        assert figure.axes[0].get_position().height * figure.get_figheight() > 1
