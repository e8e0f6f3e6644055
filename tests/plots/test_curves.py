"""Which runs are one curve, what it is called, and its mean, least and greatest, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made import frames, grid, run

from rankprobe.errors import RankprobeError
from rankprobe.plots.curves import average, beside, longest, named, over_tasks, points, scored


def curve_names(*runs: dict, free: tuple[str, ...] = ()) -> list[str]:
    made = frames(*runs)
    return named(made, scored(made, "last"), *free)["curve"].tolist()


def test_a_point_is_the_mean_least_and_greatest_of_its_seeds():
    made = frames(*(run(seed=i, bottleneck=2, last=score) for i, score in enumerate([50, 60, 100])), run())
    found = points(named(made, scored(made, "last"), "bottleneck"), "bottleneck")
    assert found.to_dict("list") == {
        "method": ["dpt", "dpt"],
        "variant": [0, 0],
        "curve": ["dpt", "dpt"],
        "x": [2, 10],
        "mean": [70, 61],
        "min": [50, 61],
        "max": [100, 61],
        "n_seeds": [3, 1],
    }


def test_other_settings_are_curves_of_their_own_and_say_which_in_order_of_size():
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
    made = frames(*runs)
    assert named(made, scored(made, "last"))["variant"].tolist() == [2, 1, 0, 0]


def test_what_differs_between_tasks_and_models_only_is_not_said():
    other = {"task": "cb", "learning_rate": 0.1}
    assert curve_names(run(), run(**other), run(model="mini", learning_rate=0.2)) == ["dpt"] * 3


def test_data_of_the_same_name_from_two_places_are_not_one_curve():
    assert curve_names(run(data="bundled"), run()) == ["dpt, data = bundled", "dpt, data = bundled-500"]


def test_an_unset_setting_is_one_whether_none_or_nan():
    assert (
        curve_names(run(method="vanilla"), run(method="vanilla", seed=2, bottleneck=np.nan))
        == ["vanilla"] * 2
    )


def test_unfinished_runs_and_controls_have_no_score():
    made = frames(
        run(), run(seed=2, status="running"), run(seed=3, control="shuffle-labels"), run(seed=4, last=None)
    )
    assert scored(made, "last")["run_id"].tolist() == ["run0"]
    assert scored(made, "best")["score"].tolist() == [62, 65]
    with pytest.raises(
        RankprobeError, match=r"unknown score 'lst'; did you mean 'last'\? \(valid: best, last\)"
    ):
        scored(made, "lst")


def test_lone_points_give_way_to_curves():
    made = frames(
        *grid(prompt_length=[20, 100]), run(bottleneck=2), run(method="finetune", prompt_length=None)
    )
    runs = scored(made, "last")
    assert longest(made, runs, "prompt_length")["run_id"].tolist() == ["run0", "run1", "run3"]
    assert len(longest(made, runs.iloc[1:], "prompt_length")) == 3


def test_lines_beside_a_curve_share_its_settings():
    vanilla = grid(method="vanilla", prompt_length=[20, 100], task=["rte", "cb"])
    made = frames(run(bottleneck=2), run(), *vanilla, run(method="vanilla", shots=8))
    kept = beside(scored(made, "last"), "bottleneck", "prompt_length", "shots")
    assert kept["run_id"].tolist() == ["run0", "run1", "run4"]


def test_an_average_is_over_the_tasks_all_methods_have_and_seeds_that_have_them_all():
    runs = [
        *(run(task=task, last=score) for task, score in (("cb", 10), ("rte", 30), ("wic", 99))),
        *(run(method="vanilla", task=task, last=score) for task, score in (("cb", 20), ("rte", 60))),
        run(method="vanilla", task="cb", seed=2, last=100),
    ]
    made = frames(*runs)
    whole = over_tasks(named(made, scored(made, "last")))
    assert whole["run_id"].tolist() == ["run0", "run1", "run3", "run4"]
    assert dict(average(whole)[["curve", "score"]].to_numpy()) == {"dpt": 20, "vanilla": 40}
