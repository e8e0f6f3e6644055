"""Fake runs: frames with known values, so that the content of a figure can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pandas as pd

from rankprobe.runs import Frames

SETTINGS = {
    "method": "dpt",
    "seed": 1,
    "task": "rte",
    "data": "bundled-500",
    "model": "tiny",
    "prompt_length": 100,
    "bottleneck": None,
    "shots": None,
    "control": "none",
    "learning_rate": 0.3,
    "sigma_init": None,
}
"""Default settings of a fake run."""

TITLES = {"wsc": "WSC", "wic": "WiC", "boolq": "BoolQ", "cb": "CB", "copa": "COPA", "multirc": "MultiRC"}
TITLES |= {"record": "ReCoRD", "rte": "RTE"}
METHOD_SETTINGS = {
    "dpt": {"bottleneck": 10},
    "probe": {"sigma_init": "ones"},
    "finetune": {"prompt_length": 0},
}


def run(**changes: Any) -> dict[str, Any]:
    """A row of `Frames.runs`, with `last` = 60 + seed and `best` = 61 + seed unless `changes` has them."""
    config = SETTINGS | METHOD_SETTINGS.get(changes.get("method", "dpt"), {}) | changes
    is_miniature = config["data"].startswith("bundled")
    title = TITLES.get(config["task"], config["task"])
    summary = {
        "status": "finished",
        "step": 4,
        "total_steps": 4,
        "data_label": f"miniature {title}" if is_miniature else title,
        "data_source": "bundled" if is_miniature else config["data"],
        "model_label": "tiny (rankprobe's own)" if config["model"] == "tiny" else config["model"],
        "random_weights": False,
        "trainable_parameters": 228 * (config["bottleneck"] or 56),
        "metric": "f1" if config["task"] == "multirc" else "accuracy",
        "baseline": 50.0,
        "last": 60.0 + config["seed"],
        "best": 61.0 + config["seed"],
    }
    if config["method"] == "probe":
        summary |= {"n_positive": 40 + config["seed"], "n_negative": 60 - config["seed"], "n_zero": 0}
        summary |= {"gaussian_n_positive": 50 + config["seed"]}
    return config | summary | {key: value for key, value in changes.items() if key in summary}


def grid(**lists: Any) -> list[dict[str, Any]]:
    """A run for each combination of the values given as lists."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in lists.items()}
    return [run(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())]


def frames(*runs: Mapping[str, Any]) -> Frames:
    """Frames with these runs, named run0, run1, …, and without logs."""
    table = pd.DataFrame([{"run_id": f"run{i}"} | dict(row) for i, row in enumerate(runs)])
    empty = pd.DataFrame(columns=["run_id", "step"])
    return Frames(table, empty, empty, empty, empty, list(SETTINGS))


def lines(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    """x and y of each line of a panel, by label."""
    return {
        str(line.get_label()): (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in axes.get_lines()
    }


def legend(figure: Any) -> tuple[str, list[str]]:
    """The note above the legend, and the names of its entries."""
    (only,) = figure.legends
    return only.get_title().get_text(), [text.get_text() for text in only.get_texts()]
