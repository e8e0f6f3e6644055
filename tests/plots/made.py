"""Made runs: frames whose values are known, so that what a figure shows can be worked out by hand."""

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
"""What a run has unless it says otherwise."""

TITLES = {"wsc": "WSC", "wic": "WiC", "boolq": "BoolQ", "cb": "CB", "copa": "COPA", "multirc": "MultiRC"}
TITLES |= {"record": "ReCoRD", "rte": "RTE"}
OWN = {"dpt": {"bottleneck": 10}, "probe": {"sigma_init": "ones"}, "finetune": {"prompt_length": 0}}


def run(**changes: Any) -> dict[str, Any]:
    """A row of `Frames.runs`: score 60 + seed (best: 1 more), one tenth of it per 100 numbers trained."""
    config = SETTINGS | OWN.get(changes.get("method", "dpt"), {}) | changes
    own = config["data"].startswith("bundled")
    title = TITLES.get(config["task"], config["task"])
    made = {
        "status": "finished",
        "step": 4,
        "total_steps": 4,
        "data_label": f"miniature {title}" if own else title,
        "data_source": "bundled" if own else config["data"],
        "model_label": "tiny (rankprobe's own)" if config["model"] == "tiny" else config["model"],
        "random_weights": False,
        "trainable_parameters": 228 * (config["bottleneck"] or 56),
        "metric": "f1" if config["task"] == "multirc" else "accuracy",
        "majority": 50.0,
        "last": 60.0 + config["seed"],
        "best": 61.0 + config["seed"],
    }
    if config["method"] == "probe":
        made |= {"n_positive": 40 + config["seed"], "n_negative": 60 - config["seed"], "n_zero": 0}
        made |= {"twin_n_positive": 50 + config["seed"]}
    return config | made | {key: value for key, value in changes.items() if key in made}


def grid(**lists: Any) -> list[dict[str, Any]]:
    """A run per combination of the values that are lists."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in lists.items()}
    return [run(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())]


def frames(*runs: Mapping[str, Any]) -> Frames:
    """Frames of these runs; their ids are run0, run1, …, and nothing is logged."""
    table = pd.DataFrame([{"run_id": f"run{i}"} | dict(each) for i, each in enumerate(runs)])
    empty = pd.DataFrame(columns=["run_id", "step"])
    return Frames(table, empty, empty, empty, empty, list(SETTINGS))


def lines(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    """x and y of each line of a panel, by label."""
    return {
        str(line.get_label()): (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in axes.get_lines()
    }


def legend(figure: Any) -> tuple[str, list[str]]:
    """The note over the legend, and its entries."""
    (found,) = figure.legends
    return found.get_title().get_text(), [text.get_text() for text in found.get_texts()]
