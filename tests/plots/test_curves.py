"""Which runs form a curve, its name, and its mean, minimum and maximum, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fake_runs import frames, grid, run

from rankprobe.errors import RankprobeError
from rankprobe.plots.curves import (
    curve_points,
    drop_single_points,
    drop_unmatched,
    name_curves,
    on_common_tasks,
    scored_runs,
    task_average,
)


def curve_names(*runs: dict, free: tuple[str, ...] = ()) -> list[str]:
    loaded = frames(*runs)
    return name_curves(loaded, scored_runs(loaded, "last"), *free)["curve"].tolist()


def test_a_point_has_mean_minimum_and_maximum_over_seeds():
    loaded = frames(*(run(seed=i, bottleneck=2, last=score) for i, score in enumerate([50, 60, 100])), run())
    points = curve_points(name_curves(loaded, scored_runs(loaded, "last"), "bottleneck"), "bottleneck")
    assert points.to_dict("list") == {
        "method": ["dpt", "dpt"],
        "variant": [0, 0],
        "curve": ["dpt", "dpt"],
        "x": [2, 10],
        "mean": [70, 61],
        "min": [50, 61],
        "max": [100, 61],
        "n_seeds": [3, 1],
    }


def test_different_settings_are_separate_curves_named_and_ordered_by_value():
    runs = [
        run(bottleneck=10),
        run(bottleneck=2),
        run(bottleneck=2, learning_rate=0.01),
        run(method="vanilla"),
    ]
    assert curve_names(*runs) == [
        "dpt, b = 10, learning_rate = 0.3",
        "dpt, b = 2, learning_rate = 0.3",
        "dpt, b = 2, learning_rate = 0.01",
        "vanilla",
    ]
    loaded = frames(*runs)
    assert name_curves(loaded, scored_runs(loaded, "last"))["variant"].tolist() == [2, 1, 0, 0]


def test_settings_that_differ_only_between_panels_are_not_named():
    other = {"task": "cb", "learning_rate": 0.1}
    assert curve_names(run(), run(**other), run(model="mini", learning_rate=0.2)) == ["dpt"] * 3


def test_data_with_one_name_from_two_places_are_two_curves():
    assert curve_names(run(data="bundled"), run()) == ["dpt, data = bundled", "dpt, data = bundled-500"]


def test_none_and_nan_are_the_same_unset_setting():
    assert (
        curve_names(run(method="vanilla"), run(method="vanilla", seed=2, bottleneck=np.nan))
        == ["vanilla"] * 2
    )


def test_unfinished_runs_and_controls_have_no_score():
    loaded = frames(
        run(), run(seed=2, status="running"), run(seed=3, control="shuffle-labels"), run(seed=4, last=None)
    )
    assert scored_runs(loaded, "last")["run_id"].tolist() == ["run0"]
    assert scored_runs(loaded, "best")["score"].tolist() == [62, 65]
    with pytest.raises(
        RankprobeError, match=r"unknown score 'lst'; did you mean 'last'\? \(valid: best, last\)"
    ):
        scored_runs(loaded, "lst")


def test_single_points_are_dropped_if_there_is_a_curve():
    loaded = frames(
        *grid(prompt_length=[20, 100]), run(bottleneck=2), run(method="finetune", prompt_length=None)
    )
    runs = scored_runs(loaded, "last")
    assert drop_single_points(loaded, runs, "prompt_length")["run_id"].tolist() == ["run0", "run1", "run3"]
    assert len(drop_single_points(loaded, runs.iloc[1:], "prompt_length")) == 3


def test_horizontal_lines_share_the_settings_of_a_curve():
    vanilla = grid(method="vanilla", prompt_length=[20, 100], task=["rte", "cb"])
    loaded = frames(run(bottleneck=2), run(), *vanilla, run(method="vanilla", shots=8))
    matched = drop_unmatched(scored_runs(loaded, "last"), "bottleneck", "prompt_length", "shots")
    assert matched["run_id"].tolist() == ["run0", "run1", "run4"]


def test_an_average_is_over_tasks_that_all_methods_and_seeds_have():
    runs = [
        *(run(task=task, last=score) for task, score in (("cb", 10), ("rte", 30), ("wic", 99))),
        *(run(method="vanilla", task=task, last=score) for task, score in (("cb", 20), ("rte", 60))),
        run(method="vanilla", task="cb", seed=2, last=100),
    ]
    loaded = frames(*runs)
    common = on_common_tasks(name_curves(loaded, scored_runs(loaded, "last")))
    assert common["run_id"].tolist() == ["run0", "run1", "run3", "run4"]
    assert dict(task_average(common)[["curve", "score"]].to_numpy()) == {"dpt": 20, "vanilla": 40}
