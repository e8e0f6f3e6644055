"""Scores over the size of what is trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rankprobe.errors import RankprobeError
from rankprobe.runs import Frames
from rankprobe.studies import capacity, d90


def frames(*runs: tuple) -> Frames:
    rows = [
        {"method": method, "bottleneck": size, "dimension": size, "last": last, "status": status}
        | {"data_label": "CB", "model_label": "t5", "metric": "accuracy", "baseline": 50.0}
        for method, size, last, status in runs
    ]
    empty = pd.DataFrame()
    return Frames(pd.DataFrame(rows), empty, empty, empty, empty, [])


def test_capacity_is_the_mean_over_seeds_of_finished_runs():
    runs = [("dpt", 2, 60, "finished"), ("dpt", 2, 80, "finished"), ("dpt", 2, 0, "failed")]
    table = capacity(frames(*runs, ("dpt", 10, 90, "finished"), ("vanilla", None, 99, "finished")))
    assert table["size"].tolist() == [2, 10]
    assert table["score"].tolist() == [70, 90]
    assert table[["least", "greatest", "seeds"]].iloc[0].tolist() == [60, 80, 2]
    assert table["functional_rank"].isna().all()


def test_capacity_with_functional_ranks():
    one = frames(("dpt", 2, 60, "finished"), ("dpt", 2, 80, "finished"))
    cut = dataclasses.replace(one, runs=one.runs.assign(functional_rank=[1.0, 2.0]))
    assert capacity(cut)["functional_rank"].tolist() == [1.5]


def test_d90_is_the_least_dimension_that_reaches_nine_tenths_of_vanilla():
    tried = [("subspace", 10, 50, "finished"), ("subspace", 100, 91, "finished")]
    tried += [("subspace", 1000, 95, "finished")]
    (row,) = d90(frames(*tried, ("vanilla", None, 100, "finished"))).to_dict("records")
    assert (row["d90"], row["full"], row["tried"]) == (100, 100, [10, 100, 1000])
    short = d90(frames(("subspace", 10, 50, "finished"), ("vanilla", None, 100, "finished")))
    assert np.isnan(short["d90"].iloc[0])


def test_what_is_missing():
    with pytest.raises(RankprobeError, match="no finished run of dpt or subspace"):
        capacity(frames(("vanilla", None, 99, "finished")))
    with pytest.raises(RankprobeError, match="and of vanilla on the same data"):
        d90(frames(("subspace", 10, 50, "finished")))


SETTINGS = [
    "seed",
    "method",
    "bottleneck",
    "dimension",
    "prompt_length",
    "learning_rate",
    "control",
    "device",
    "twin",
]


def made(*runs: dict) -> Frames:
    """Runs that differ from a finished DPT run with b = 2 and a last score of 60 in what is given."""
    usual = {
        "status": "finished",
        "seed": 1,
        "method": "dpt",
        "bottleneck": 2,
        "dimension": None,
        "last": 60.0,
    }
    usual |= {
        "prompt_length": 100,
        "learning_rate": 0.3,
        "control": "none",
        "device": "cpu",
        "twin": "gaussian",
    }
    usual |= {"data_label": "CB", "model_label": "t5", "metric": "accuracy", "baseline": 50.0}
    empty = pd.DataFrame()
    return Frames(pd.DataFrame([usual | run for run in runs]), empty, empty, empty, empty, SETTINGS)


def test_only_runs_that_are_the_same_but_for_the_seed_are_averaged():
    table = capacity(
        made(
            {},
            {"seed": 2, "last": 80.0, "device": "cuda", "twin": "none"},
            {"seed": 3, "last": 0.0, "control": "shuffle-labels"},
            {"seed": 4, "last": 0.0, "control": "random-labels"},
            {"seed": 1, "last": 40.0, "prompt_length": 20},
            {"seed": 1, "last": 30.0, "learning_rate": 0.1},
        )
    )
    found = table[["prompt_length", "learning_rate", "seeds", "score"]].to_numpy().tolist()
    assert sorted(found) == [[20, 0.3, 1, 40], [100, 0.1, 1, 30], [100, 0.3, 2, 70]]
    assert "control" not in table


def test_a_seed_that_is_there_twice_counts_once():
    (row,) = capacity(made({"last": 50.0}, {"last": 70.0}, {"seed": 2, "last": 80.0})).to_dict("records")
    assert (row["seeds"], row["score"]) == (2, 70.0)


def test_a_capacity_is_of_the_reported_half():
    runs = {"report_split": "half", "report_last": 30.0, "report_baseline": 20.0}
    (row,) = capacity(made(runs, runs | {"seed": 2, "report_last": None})).to_dict("records")
    assert (row["score"], row["baseline"], row["seeds"]) == (30.0, 20.0, 1)
    assert row["data_label"] == "CB, held-back half of dev"


def test_functional_ranks_say_how_many_seeds_have_one():
    runs = made({"functional_rank": 4.0}, {"seed": 2, "functional_rank": None})
    (row,) = capacity(runs).to_dict("records")
    assert (row["functional_rank"], row["functional_rank_seeds"], row["seeds"]) == (4.0, 1, 2)


def test_seeds_that_learned_are_counted():
    (row,) = capacity(made({"last": 90.0}, {"seed": 2, "last": 40.0}, {"seed": 3, "last": 91.0})).to_dict(
        "records"
    )
    assert (row["seeds"], row["learned"]) == (3, 2)
    assert (row["learned_low"], row["learned_high"]) == pytest.approx((0.094, 0.992), abs=0.001)


@pytest.mark.parametrize(
    "other", [{"functional_rank_order": "sensitivity"}, {"functional_rank_prompt": "best"}]
)
def test_a_functional_rank_of_another_order_or_prompt_is_not_averaged_with_others(other):
    ranks = [{"functional_rank": 4.0, "functional_rank_order": "singular"},
             {"functional_rank": 9.0, "seed": 2} | other]  # fmt: skip
    (row,) = capacity(made(*ranks)).to_dict("records")
    assert (row["functional_rank"], row["functional_rank_seeds"]) == (4.0, 1)


def test_d90_is_beside_vanilla_runs_of_the_same_settings():
    own = {"method": "subspace", "bottleneck": None}
    tried = [own | {"dimension": size, "last": last} for size, last in ((10, 50.0), (100, 91.0))]
    vanilla = own | {"method": "vanilla", "last": 100.0}
    others = [
        vanilla | {"prompt_length": 20, "last": 40.0},
        vanilla | {"control": "shuffle-labels", "last": 40.0},
    ]
    (row,) = d90(made(*tried, vanilla, *others)).to_dict("records")
    assert (row["d90"], row["full"], row["tried"]) == (100, 100, [10, 100])
    short = [run | {"prompt_length": 20, "last": 39.0} for run in tried]
    both = d90(made(*tried, *short, vanilla, *others)).set_index("prompt_length")
    assert both["d90"].to_dict() == {20: 10, 100: 100}
    with pytest.raises(
        RankprobeError, match="d90 needs finished runs of subspace and of vanilla on the same data"
    ):
        d90(made(*tried, *others))
