"""Runs that differ only in their seed, from frames and from run folders, and statistics over seeds."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from rankprobe.config.run import RunConfig
from rankprobe.runs import Run, over_seeds, replicates, replicates_of
from rankprobe.runs.replicates import runs_by_replicate
from rankprobe.settings import HARMLESS

SETTINGS = [
    "seed",
    "method",
    "learning_rate",
    "shots",
    "init_text",
    "layers",
    "device",
    "rank_every",
    "bottleneck",
]


def numbers(*rows: dict, free: tuple[str, ...] = ()) -> list[int]:
    usual = {"seed": 1, "method": "dpt", "learning_rate": 0.3, "data_label": "CB", "model_label": "t5"}
    return replicates(pd.DataFrame([usual | row for row in rows]), SETTINGS, *free).tolist()


@pytest.mark.parametrize(
    ("change", "apart"),
    [
        ({"seed": 2}, False),
        ({"device": "cuda"}, False),
        ({"rank_every": 5}, False),
        ({"learning_rate": 0.1}, True),
        ({"method": "vanilla"}, True),
        ({"shots": 8}, True),
        ({"layers": [1, 2]}, True),
        ({"data_label": "miniature CB"}, True),
        ({"model_label": "tiny"}, True),
    ],
)
def test_only_seed_and_what_changes_no_result_are_free(change, apart):
    assert numbers({}, change) == [0, int(apart)]


def test_unset_is_one_value_and_so_are_equal_numbers():
    rows = [{"shots": None, "layers": [1]}, {"shots": np.nan, "layers": [1]}, {"shots": 8, "layers": [1]}]
    assert numbers(*rows, {"shots": 8.0, "layers": (1,)}) == [0, 0, 1, 1]


def test_free_settings_and_settings_that_no_run_has():
    assert numbers({"bottleneck": 2}, {"bottleneck": 10}, {"bottleneck": 10, "shots": 8}, free=("bottleneck",)) == [
        0, 0, 1,
    ]  # fmt: skip
    assert replicates(pd.DataFrame({"seed": []}), SETTINGS).tolist() == []


def test_what_changes_no_result_are_settings():
    assert set(HARMLESS) <= set(RunConfig().flat())


def test_run_folders_are_grouped_alike_and_each_seed_once(tmp_path):
    found = []
    for i, (seed, changes) in enumerate(
        [(1, {}), (2, {"device": "cuda"}), (1, {"rank_every": 9}), (3, {"learning_rate": 0.1})]
    ):
        manifest = {
            "status": "finished",
            "config": RunConfig.parse({"seed": seed} | changes).flat(),
            "backbone": {"label": "tiny", "random_weights": False},
            "data": {"label": "CB", "source": "hub", "n_train": 1, "n_validation": 1},
            "trainable_parameters": 1,
            "progress": {"step": 1, "total_steps": 1},
            "timings": {},
        }
        (tmp_path / f"run{i}").mkdir()
        (tmp_path / f"run{i}" / "manifest.json").write_text(json.dumps(manifest))
        found.append(Run(tmp_path / f"run{i}"))
    assert [[run.id for run in group] for group in replicates_of(found)] == [
        ["run0", "run1"],
        ["run2"],
        ["run3"],
    ]
    assert replicates_of([]) == []
    places = [tmp_path / name for name in ("run0", "run0/../run0", "run3", "a file", "run1")]
    groups = [[run.id for run in group] for group in runs_by_replicate(places)]
    assert groups == [["run0", "run1"], ["run3"]]


def test_a_seed_that_is_there_twice_counts_once():
    rows = pd.DataFrame({"x": 1, "seed": [1, 1, 2, 3], "value": [0.0, 20.0, 30.0, np.nan]})
    (found,) = over_seeds(rows, ["x"], "value").to_dict("records")
    assert found == {"x": 1, "mean": 20.0, "min": 10.0, "max": 30.0, "n_seeds": 2}
