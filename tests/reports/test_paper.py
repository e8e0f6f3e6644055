"""The paper's numbers as printed, and which of our runs are comparable with them."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import numpy as np
import pytest

from rankprobe.paper import TASKS, paper_data, paper_name, paper_scores
from rankprobe.prompts import METHODS
from rankprobe.tasks import TASKS as OURS

METRICS = {"accuracy": "Acc.", "f1_answers": "F1", "token_f1": "F1"}


def row(table: str, model: str, method: str) -> dict[str, float]:
    scores = paper_scores().query("table == @table and model == @model and method == @method")
    return dict(zip(scores["task"], scores["value"], strict=True))


def test_no_number_is_missing():
    scores = paper_scores()
    assert list(scores) == ["table", "model", "method", "prompt_length", "trained", "task", "value"]
    counts = scores.groupby(["table", "model", "method"]).size()
    assert counts["table1"].tolist() == [9] * 12
    assert counts["table3"].tolist() == [8] * 9
    assert counts["table4"].tolist() == [9] * 3
    assert set(scores["method"]) <= set(METHODS)
    assert not scores.duplicated(["table", "model", "method", "task"]).any()


# Copied from the paper by hand, one row of each table and model.
@pytest.mark.parametrize(
    ("table", "model", "method", "printed"),
    [
        ("table1", "T5-Small", "residual", [63.14, 60.96, 73.35, 72.02, 56.66, 65.12, 53.08, 67.02, 63.91]),
        ("table1", "T5-Base", "dpt", [67.30, 68.49, 78.64, 78.56, 56.66, 71.22, 72.53, 81.94, 71.88]),
        ("table1", "T5-Large", "vanilla", [76.52, 70.00, 84.09, 74.40, 62.00, 76.18, 84.51, 88.95, 77.08]),
        ("table3", "T5-Base", "residual", [0.55, 3.68, 10.11, 10.46, 2.08, 0.20, 0.13, 1.50]),
        ("table3", "T5-Small", "dpt", [0.55, 0.65, 0.85, 4.12, 4.35, 0.90, 0.15, 1.98]),
        ("table4", "T5-Large", "residual", [69.86, 69.74, 84.18, 70.82, 59.33, 74.77, 84.31, 88.20, 75.15]),
    ],
)
def test_numbers_as_printed(table, model, method, printed):
    assert list(row(table, model, method).values()) == printed
    assert list(row(table, model, method))[:8] == list(TASKS)


def test_trained_parameters_as_printed():
    scores = (
        paper_scores().drop_duplicates(["table", "model", "method"]).set_index(["table", "model", "method"])
    )
    assert scores.loc["table1"]["trained"].tolist() == (
        ["60M", "51K", "462K", "6K", "220M", "77K", "693K", "9K", "770M", "102K", "925K", "11K"]
    )
    assert scores.loc["table4"]["trained"].tolist() == ["416K", "624K", "832K"]
    assert scores.loc["table3"]["trained"].isna().all()
    lengths = scores["prompt_length"]
    assert lengths.xs("finetune", level="method").isna().all()
    assert set(lengths.loc["table4"]) == {10}
    assert set(lengths.drop("finetune", level="method").loc["table1"]) == {100}


def test_rows_and_metrics_of_table_2():
    data = paper_data().set_index("task")
    assert data.loc["wsc"].tolist() == [259, 104, "Acc."]
    assert data.loc["record"].tolist() == [100730, 10000, "F1"]
    assert list(data.index) == ["boolq", "cb", "copa", "multirc", "record", "wic", "wsc", "rte"]
    assert data["metric"].to_dict() == {name: METRICS[OURS[name].metrics[0]] for name in data.index}


def test_averages_are_truncated_and_one_is_wrong():
    """All printed averages except DPT on T5-Base are within 0.01 of the mean of the printed scores."""
    scores = paper_scores().query("table != 'table3'")
    wide = scores.pivot(index=["table", "model", "method"], columns="task", values="value")
    off = wide["average"] - wide[list(TASKS)].mean(axis=1)
    far = off[off.abs() > 0.01]
    assert list(far.index) == [("table1", "T5-Base", "dpt")]
    assert far.iloc[0] == pytest.approx(71.88 - 71.9175)


def truncated(value: float) -> float:
    return math.floor(round(value * 100, 6)) / 100


def test_table_3_divides_by_n_minus_1():
    """COPA has 100 dev rows, so scores are whole numbers and three runs can give only few values."""
    possible = {0: set(), 1: set()}
    for three in combinations_with_replacement(range(40, 80), 3):
        for ddof, pairs in possible.items():
            pairs.add((truncated(float(np.mean(three))), truncated(float(np.std(three, ddof=ddof)))))
    printed = [
        (row("table1", model, method)["copa"], row("table3", model, method)["copa"])
        for model in ("T5-Small", "T5-Base", "T5-Large")
        for method in ("vanilla", "residual", "dpt")
    ]
    assert [pair in possible[1] for pair in printed] == [True] * 9
    assert [pair in possible[0] for pair in printed].count(True) == 1, "all three equal: 0.00"


RUN = {"task": "cb", "data_source": "hub", "random_weights": False, "model": "t5-base"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "T5-Base"),
        ({"model": "google-t5/t5-small"}, "T5-Small"),
        ({"model": "/models/t5-large/", "data_source": "folder"}, "T5-Large"),
        ({"random_weights": True}, None),
        ({"data_source": "bundled"}, None),
        ({"task": "/mine/cb.toml", "data_source": "file"}, None),
        ({"model": "google/t5-v1_1-base"}, None),
        ({"model": "random:t5-base"}, None),
        ({"model": "me/my-t5-base"}, None),
    ],
)
def test_which_runs_are_comparable_with_the_paper(changes, name):
    assert paper_name(RUN | changes) == name
