"""Scores over the size of what is trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rankprobe.errors import RankprobeError
from rankprobe.reports import capacity, d90
from rankprobe.runs import Frames


def frames(*runs: tuple) -> Frames:
    rows = [
        {"method": method, "bottleneck": size, "dimension": size, "last": last, "status": status}
        | {"data_label": "CB", "model_label": "t5", "metric": "accuracy", "majority": 50.0}
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
