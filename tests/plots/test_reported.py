"""Figures show the reported scores, never mix replicates with other runs, and show names literally."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_runs import SETTINGS, frames, grid, legend, lines, run
from matplotlib.text import Text
from test_plots import frames as logged

from rankprobe.plots import (
    controls,
    fig1,
    fig3,
    fig5,
    fig6,
    group_runs,
    length,
    save_figure,
    spectra,
    truncation,
    used,
)
from rankprobe.plots.curves import curve_points, name_curves, scored_runs
from rankprobe.runs import Frames

NAME = "$x_1$ _50%_ \\alpha\nb $"
"""A name with special characters that a user may give to a task or a model."""


def half(**changes) -> dict:
    """A run reported on the held-back half: `last` is 30 + seed, `best` is 40 + seed, the baseline is 20."""
    row = run(**changes)
    seed = row["seed"]
    scores = {"report_last": 30.0 + seed, "report_best": 40.0 + seed, "report_baseline": 20.0}
    return row | {"report_split": "half"} | scores


def halves(*runs: dict) -> Frames:
    return dataclasses.replace(frames(*runs), settings=[*SETTINGS, "report_split"])


@pytest.mark.parametrize(("score", "mean"), [("last", 32.0), ("best", 42.0)])
@pytest.mark.parametrize("figure", [fig5, fig6])
def test_curves_are_of_the_reported_half(figure, score, mean):
    loaded = halves(*(half(bottleneck=b, prompt_length=10 * b, seed=s) for b in (2, 10) for s in (1, 3)))
    loaded.runs["prompt_length" if figure is fig5 else "bottleneck"] = 10
    (axes,) = figure(loaded, score=score).axes
    found = lines(axes)
    assert found["dpt"][1] == [mean, mean]
    assert found["baseline"][1] == [20, 20]
    assert axes.get_title() == "miniature RTE, held-back half of dev\ntiny (rankprobe's own)"


def test_half_and_all_of_dev_have_separate_panels():
    loaded = halves(*grid(bottleneck=[2, 10]), *(half(bottleneck=b) for b in (2, 10)))
    panels = {axes.get_title().partition("\n")[0]: lines(axes)["dpt"][1] for axes in fig5(loaded).axes}
    assert panels == {"miniature RTE": [61, 61], "miniature RTE, held-back half of dev": [31, 31]}
    titles = [axes.get_title().partition("\n")[2].replace("\n", " ") for axes in fig1(loaded).axes]
    assert titles == ["mean of 1 miniature tasks", "mean of 1 miniature tasks, held-back half of dev"]


def test_a_run_without_its_reported_score_is_not_drawn():
    loaded = halves(half(), half(seed=2) | {"report_last": None})
    assert scored_runs(loaded, "last")["run_id"].tolist() == ["run0"]


def test_settings_that_change_no_result_do_not_split_a_curve():
    runs = [run(), run(seed=2) | {"device": "cuda", "rank_every": 5, "twin": "none"}, run(seed=2)]
    loaded = dataclasses.replace(frames(*runs), settings=[*SETTINGS, "device", "rank_every", "twin"])
    found = name_curves(loaded, scored_runs(loaded, "last"))
    assert found["curve"].tolist() == ["dpt"] * 3
    assert curve_points(found)[["mean", "n_seeds"]].to_numpy().tolist() == [[61.5, 2]]


def test_panels_group_settings_of_any_type():
    loaded = logged({}, {"seed": 2}, {"learning_rate": 0.1})
    texts = pd.Series([[1, 2], [1, 2], [1, 2]])
    loaded.runs[["layers", "shots", "device"]] = pd.DataFrame(
        {"layers": texts, "shots": [None, np.nan, None], "device": ["cpu", "cuda", "cpu"]}
    )
    loaded = dataclasses.replace(loaded, settings=[*loaded.settings, "layers", "shots", "device"])
    assert [group.run_ids for group in group_runs(loaded)] == [["run0", "run1"], ["run2"]]


def test_the_mean_at_each_step_is_over_the_same_seeds():
    loaded = logged({"seed": 1}, {"seed": 3})
    rare = (loaded.steps["run_id"] == "run1") & (loaded.steps["step"] % 2 == 1)
    loaded.steps.loc[rare, "P_erank_rv"] = np.nan
    (group,) = group_runs(loaded)
    assert group.band("P_erank_rv").index.tolist() == [0, 2, 4]
    ended = dataclasses.replace(
        loaded, steps=loaded.steps[(loaded.steps["run_id"] != "run1") | (loaded.steps["step"] < 3)]
    )
    (group,) = group_runs(ended)
    assert group.band("n_positive").index.tolist() == [0, 1, 2, 3, 4]


def truncated(runs: Frames, ks: list[list[int]], ranks: list[float | None], **columns) -> Frames:
    """Runs truncated to these k: they score 50 + 10 k + seed, with the baseline 45."""
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
            "baseline": 45.0,
            "split": "validation",
            "prompt": "final",
        }
        for each, own in zip(runs.runs.to_dict("records"), ks, strict=True)
        for k in own
    ]
    table = pd.DataFrame(rows).assign(**columns)
    return dataclasses.replace(runs, runs=runs.runs.assign(functional_rank=ranks), truncation=table)


def test_each_run_has_the_same_weight_in_a_used_rank():
    """One run has two k and rank 1, another has five k and rank 4: the mean rank is 2.5, not 3.1."""
    (axes,) = used(truncated(frames(run(seed=1), run(seed=3)), [[0, 5], [0, 1, 2, 3, 5]], [1.0, 4.0])).axes
    assert lines(axes)["functional rank"][0] == [2.5]


def test_a_used_curve_has_the_k_that_all_its_seeds_have():
    figure = used(truncated(frames(run(seed=1), run(seed=3)), [[0, 1, 5], [0, 2, 5]], [1.0, 4.0]))
    (axes,) = figure.axes
    assert lines(axes)["dpt"] == ([0, 5], [52, 102])
    assert legend(figure)[0].replace("\n", " ") == (
        "mean of 2 seeds, band: least to greatest; values of k that only some seeds were cut at are left out"
    )
    figure = truncation(truncated(logged({"seed": 1}, {"seed": 3}), [[0, 1, 5], [0, 2, 5]], [1.0, 4.0]))
    (axes,) = figure.axes
    assert lines(axes)["largest of P"] == ([0, 5], [52, 102])
    assert legend(figure)[0] == "values of k that only some seeds were cut at are left out"


def test_the_baseline_of_a_truncation_curve_is_of_its_own_rows():
    (axes,) = used(truncated(halves(half()), [[0, 5]], [1.0], split="report")).axes
    assert lines(axes)["baseline"][1] == [45, 45]
    assert axes.get_ylabel() == "report accuracy (%)"
    assert "held-back half of dev" in axes.get_title()


def test_a_run_with_curves_of_both_prompts_is_drawn_with_its_final_one():
    loaded = truncated(frames(run(seed=1), run(seed=2)), [[0, 5], [0, 5]], [1.0, 4.0])
    best = loaded.truncation.assign(prompt="best", value=0.0)
    both = dataclasses.replace(loaded, truncation=pd.concat([loaded.truncation, best]))
    (axes,) = used(both).axes
    assert lines(axes)["dpt"] == ([0, 5], [51.5, 101.5])


def test_curves_of_different_prompts_are_not_averaged():
    prompts = ["final", "final", "best", "best"]
    figure = used(truncated(frames(run(seed=1), run(seed=2)), [[0, 5], [0, 5]], [1.0, 4.0], prompt=prompts))
    assert legend(figure)[1][:2] == ["dpt, prompt = best", "dpt, prompt = final"]
    two = truncation(
        truncated(logged({"seed": 1}, {"seed": 2}), [[0, 5], [0, 5]], [1.0, 4.0], prompt=prompts)
    )
    assert [axes.get_title().splitlines()[-1] for axes in two.axes] == [
        "prompt = final, split = validation",
        "prompt = best, split = validation",
    ]


def test_runs_that_did_not_learn_are_counted():
    loaded = truncated(
        frames(*grid(prompt_length=[10, 100], seed=[1, 2])), [[0, 5]] * 4, [1.0, 3.0, 4.0, None]
    )
    for figure, line in (
        (used, "learned: dpt, n = 100: 1 of 2 (1% to 99%)"),
        (length, "learned: dpt: 3 of 4 (19% to 99%)"),
    ):
        (axes,) = figure(loaded).axes
        assert axes.get_title().splitlines()[-1] == line


def test_curves_do_not_average_runs_that_learned_with_runs_that_did_not():
    """The second run has no functional rank: the curve is that of the first run, 50 + 10 k + 1."""
    (axes,) = used(truncated(frames(run(seed=1), run(seed=3)), [[0, 5], [0, 5]], [1.0, None])).axes
    assert lines(axes)["dpt"] == ([0, 5], [51, 101])
    loaded = truncated(logged({"seed": 1}, {"seed": 3}), [[0, 5], [0, 5]], [1.0, None])
    below = loaded.truncation["run_id"] == "run1"
    values = loaded.truncation["value"].mask(below, 40.0)
    (axes,) = truncation(dataclasses.replace(loaded, truncation=loaded.truncation.assign(value=values))).axes
    assert lines(axes)["largest of P"] == ([0, 5], [51, 101])
    assert axes.get_title().splitlines()[-1] == "learned: 1 of 2 (1% to 99%)"


def test_curves_in_the_order_of_sensitivity_say_so_and_are_separate():
    two = frames(run(seed=1), run(seed=3))
    (axes,) = used(truncated(two, [[0, 5], [0, 5]], [1.0, 2.0], order="sensitivity")).axes
    assert axes.get_xlabel() == "singular directions kept k, most sensitive first"
    orders = ["singular", "singular", "sensitivity", "sensitivity"]
    figure = used(truncated(two, [[0, 5], [0, 5]], [1.0, 2.0], order=orders))
    assert figure.axes[0].get_xlabel() == "singular directions kept k"
    assert legend(figure)[1][:2] == ["dpt, order = sensitivity", "dpt, order = singular"]
    loaded = frames(*grid(prompt_length=[10, 100], seed=[1, 2]))
    ranks = truncated(loaded, [[0, 5]] * 4, [1.0, 3.0, 4.0, 4.0])
    runs = ranks.runs.assign(functional_rank_order=orders[1:3] * 2)
    assert legend(length(dataclasses.replace(ranks, runs=runs)))[1][0].endswith("order = sensitivity")


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_literally(tmp_path):
    shown = NAME.replace("\n", "\\n")
    loaded = frames(*grid(bottleneck=[2, 10], data_label=NAME, model_label=NAME, learning_rate=[0.1, "$y$"]))
    three = logged({})
    three.runs[["data_label", "model_label"]] = NAME
    figures = {
        "fig5": (fig5(loaded), f"{shown}\n{shown}"),
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
