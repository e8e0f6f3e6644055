"""Figures contain the curves of the frames they were given: tests check artists, not pixels."""

from __future__ import annotations

import dataclasses
import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from rankprobe.errors import RankprobeError
from rankprobe.plots import fig3, fig9, group_runs, save
from rankprobe.plots.style import COLOURS
from rankprobe.runs import Frames

STEPS = 5


def frames(*runs: dict) -> Frames:
    """Frames with logged steps of runs given as config changes; curves depend on the seed in a known way."""
    summaries, steps = [], []
    for i, changes in enumerate(runs):
        config = {"method": "probe", "seed": 1, "task": "cb", "learning_rate": 0.3, **changes}
        labels = {"data_label": "miniature CB", "model_label": "random:tiny (random weights)"}
        progress = {"status": "finished", "step": STEPS - 1, "total_steps": STEPS - 1}
        summaries.append({"run_id": f"run{i}", **config, **labels, **progress})
        step = np.arange(STEPS)
        columns = {"step": step, "P_numerical_rank": 100 - step, "P_erank_rv": 50.0 - step}
        columns |= {"gaussian_P_numerical_rank": 90 - step, "gaussian_P_erank_rv": 40.0 - step}
        if config["method"] == "probe":
            columns |= {"n_positive": 100 - config["seed"] * step, "n_negative": config["seed"] * step}
            columns |= {"gaussian_n_positive": 100 - 2 * step, "gaussian_n_negative": 2 * step}
        steps.append(pd.DataFrame({"run_id": f"run{i}", **config, **columns}))
    empty = pd.DataFrame(columns=["run_id", "step"])
    settings = ["method", "seed", "task", "learning_rate"]
    return Frames(pd.DataFrame(summaries), pd.concat(steps, ignore_index=True), empty, empty, empty, settings)


def curves(axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_fig3_draws_each_sign_with_its_twin():
    figure = fig3(frames({}))
    (axes,) = figure.axes
    assert curves(axes) == {
        "n_positive": [100, 99, 98, 97, 96],
        "n_negative": [0, 1, 2, 3, 4],
        "gaussian_n_positive": [100, 98, 96, 94, 92],
        "gaussian_n_negative": [0, 2, 4, 6, 8],
    }
    styles = {line.get_label(): line.get_linestyle() for line in axes.get_lines()}
    assert styles["n_positive"] == "-" != styles["gaussian_n_positive"]
    assert axes.get_title() == "probe on miniature CB\nrandom:tiny (random weights)"
    assert axes.get_xlabel() == "step (optimizer updates)"
    assert [text.get_text() for text in sorted(axes.texts, key=lambda text: -text.xyann[1])] == [
        "positive\n96", "positive, noise twin\n92", "negative, noise twin\n8", "negative\n4",
    ]  # fmt: skip
    in_page = fig3(frames({}), look="page")
    assert in_page.get_suptitle() == ""
    (legend,) = in_page.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "positive", "positive, noise twin", "negative", "negative, noise twin",
    ]  # fmt: skip


def test_fig3_says_what_it_compares():
    assert fig3(frames({})).get_suptitle() == "Signs of σ: training (solid) and training on noise (dashed)"
    alone = frames({})
    steps = alone.steps.drop(columns=[name for name in alone.steps if name.startswith("gaussian_")])
    assert fig3(dataclasses.replace(alone, steps=steps)).get_suptitle() == "Signs of σ in training"


def with_haar(*changes: dict) -> Frames:
    """Runs with a second twin, ten entries above the first; its ranks are missing."""
    loaded = frames(*changes)
    haar = {f"haar_{name}": loaded.steps[f"gaussian_{name}"] + 10 for name in ("n_positive", "n_negative")}
    return dataclasses.replace(loaded, steps=loaded.steps.assign(**haar))


def test_several_twins_are_an_area_that_the_legend_explains():
    figure = fig9(with_haar({"seed": 1}, {"seed": 3}))
    signs, ranks = figure.axes
    edges = [list(line.get_ydata()) for line in signs.get_lines() if line.get_linestyle() == "--"]
    low = [100, 98, 96, 94, 92]
    assert edges[:2] == [low, [value + 10 for value in low]]
    area = signs.collections[0].get_paths()[0].vertices[:, 1]
    assert (area.min(), area.max()) == (92, 110)
    assert "gaussian_P_erank_rv" in curves(ranks)
    (legend,) = figure.legends
    assert legend.get_title().get_text().replace("\n", " ") == (
        "noise twins: from the lowest to the highest mean of Gaussian and Haar twins"
    )
    assert [text.get_text() for text in signs.texts][-2:] == [
        "positive\n92",
        "positive, noise twins\n92 to 102",
    ]
    assert {text.get_label() for text in ranks.texts} >= {"numerical rank", "effective rank, noise twin"}


def test_the_area_of_twins_leaves_out_steps_that_one_twin_lacks():
    loaded = with_haar({})
    loaded.steps.loc[3:, "haar_n_positive"] = np.nan
    (axes,) = fig3(loaded).axes
    assert curves(axes)["n_positive"] == [100, 99, 98, 97, 96]
    edges = [list(line.get_ydata()) for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert edges[:2] == [[100, 98, 96], [110, 108, 106]]


def test_a_lone_twin_of_another_kind_is_named():
    loaded = frames({})
    renamed = {name: name.replace("gaussian_", "haar_") for name in loaded.steps}
    figure = fig3(dataclasses.replace(loaded, steps=loaded.steps.rename(columns=renamed)))
    assert "positive, Haar twin" in [text.get_label() for text in figure.axes[0].texts]
    assert "haar_n_positive" in curves(figure.axes[0])


def test_seeds_share_a_panel_as_mean_and_band():
    figure = fig3(frames({"seed": 1}, {"seed": 3}))
    (axes,) = figure.axes
    assert curves(axes)["n_positive"] == [100, 98, 96, 94, 92]
    band = axes.collections[-1].get_paths()[0].vertices
    assert band[:, 1].min() == 0
    assert axes.get_title().endswith("mean of 2 seeds, band: least to greatest")


def test_different_settings_have_separate_panels_that_name_them():
    figure = fig3(frames({}, {"learning_rate": 0.01}))
    assert [axes.get_title().splitlines()[-1] for axes in figure.axes] == [
        "learning_rate = 0.3",
        "learning_rate = 0.01",
    ]


def test_fig9_draws_ranks_of_every_method():
    figure = fig9(frames({}, {"method": "dpt"}))
    upper, other_upper, lower, other_lower = figure.axes
    assert set(curves(upper)) == {"n_positive", "n_negative", "gaussian_n_positive", "gaussian_n_negative"}
    assert not other_upper.get_lines()
    assert other_upper.texts[0].get_text() == "no diagonal"
    assert curves(lower) == curves(other_lower)
    assert curves(lower)["P_numerical_rank"] == [100, 99, 98, 97, 96]
    assert curves(lower)["gaussian_P_erank_rv"] == [40, 39, 38, 37, 36]
    assert lower.get_ylabel() == "rank of P"


def test_unfinished_runs_are_marked():
    half = frames({"seed": 1}, {"seed": 2})
    half.runs.loc[1, ["status", "step"]] = ["killed", 2]
    (axes,) = fig3(half).axes
    assert axes.get_title().endswith("not finished: killed at 2/4")
    half.runs.loc[0, ["status", "step"]] = ["killed", 2]
    (axes,) = fig3(half).axes
    assert axes.get_title().endswith("not finished: 2 runs killed at 2/4")


def test_many_groups_wrap():
    figure = fig3(frames(*({"learning_rate": 0.1 * i} for i in range(1, 7))))
    assert len([axes for axes in figure.axes if axes.get_lines()]) == 6


def test_without_runs_the_error_says_what_to_do():
    with pytest.raises(RankprobeError, match="fig3 needs a run of the probe, and there is none; train one"):
        fig3(frames({"method": "dpt"}))
    empty = pd.DataFrame(columns=["run_id", "step"])
    with pytest.raises(RankprobeError, match="no logged steps to draw; train a run first"):
        group_runs(Frames(empty, empty, empty, empty, empty, []))


def test_a_twin_is_lighter_than_its_run():
    for run, twin in COLOURS.values():
        grey = [np.dot(mpl.colors.to_rgb(colour), [0.299, 0.587, 0.114]) for colour in (run, twin)]
        assert grey[1] - grey[0] > 0.25


def test_saved_figures_name_their_runs_and_repeat_byte_for_byte(tmp_path):
    loaded = frames({"seed": 1}, {"seed": 2}, {"method": "dpt"})
    paths = save(fig3(loaded), "fig3", loaded, tmp_path / "a")
    again = save(fig3(loaded), "fig3", loaded, tmp_path / "b")
    assert [path.name for path in paths] == ["fig3.png", "fig3.svg", "fig3.json"]
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    provenance = json.loads(paths[2].read_text())
    assert [run["run_id"] for run in provenance["runs"]] == ["run0", "run1"]
    assert provenance["runs"][0]["model_label"] == "random:tiny (random weights)"


def test_drawing_changes_no_global_state():
    before = dict(mpl.rcParams)
    fig3(frames({}))
    assert dict(mpl.rcParams) == before
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()
