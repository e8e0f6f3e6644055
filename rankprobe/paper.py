"""The numbers that the paper prints (Tables 1 to 4), for comparison with ours.

Source: Xiao et al. (2023), Decomposed Prompt Tuning via Low-Rank Reparameterization, Findings of EMNLP.
The paper marks its Fine-Tuning rows of T5-Base and T5-Large with an asterisk: the authors did not run them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rankprobe.bundled import FOLDER

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("wsc", "wic", "boolq", "cb", "copa", "multirc", "record", "rte")
"""The paper's tasks, in the order of its Table 1."""

METHODS = ("finetune", "vanilla", "residual", "dpt")
"""The paper's methods by our names, in the order of its Table 1."""

MODELS = {"t5-small": "T5-Small", "t5-base": "T5-Base", "t5-large": "T5-Large"}
"""The last part of a model's hub id or folder, and the paper's name for this model."""

QUOTED = (("T5-Base", "finetune"), ("T5-Large", "finetune"))
"""(model, method) of the rows of Table 1 that carry an asterisk."""


def paper_scores() -> pd.DataFrame:
    """Tables 1, 3 and 4: dev scores in percent (1 and 4), and their standard deviations over three runs (3).

    The paper does not say whether Table 3 divides by n or by n − 1. The COPA column shows that it is n − 1:
    COPA has 100 dev rows, so scores are whole numbers, and only n − 1 gives the printed numbers (truncated to
    two decimals, not rounded).

    Returns:
        A row per number: `table` (`table1`, `table3`, `table4`), `model`, `method` (our names),
        `prompt_length` (NaN for finetune), `trained` (as printed, such as `51K`; NaN in Table 3), `task`
        (also `average`, in Tables 1 and 4), `value`.
    """
    numbers = _numbers()
    columns = ["table", "model", "method", "prompt_length", "trained", "task", "value"]
    return numbers.loc[numbers["table"] != "table2", columns].reset_index(drop=True)


def paper_data() -> pd.DataFrame:
    """Table 2: the numbers of training and dev rows of each task, and its metric, `Acc.` or `F1`.

    Returns:
        A row per task, in the printed order: `task`, `train`, `dev`, `metric`.
    """
    numbers = _numbers()
    counts = numbers[numbers["table"] == "table2"].astype({"value": int})
    wide = counts.pivot(index=["task", "metric"], columns="quantity", values="value").reset_index()
    printed = wide.set_index("task").loc[list(dict.fromkeys(counts["task"]))].reset_index()
    return printed[["task", "train", "dev", "metric"]].rename_axis(columns=None)


def paper_name(run: Mapping[Any, Any]) -> str | None:
    """The paper's name for a run's model if the run is comparable with the paper; otherwise None.

    A run is comparable if its model is a pretrained T5-Small, T5-Base or T5-Large (by the last part of the
    model's name), and its task is one of the paper's and not our miniature. The paper does not say which T5
    checkpoint it uses.

    Args:
        run: a row of `Frames.runs` with `task`, `data_source`, `random_weights` and `model`.
    """
    if run["task"] not in TASKS or run["data_source"] == "bundled" or run["random_weights"]:
        return None
    return MODELS.get(str(run["model"]).rstrip("/").rpartition("/")[2])


def method_order(methods: Iterable[str]) -> list[str]:
    """All methods of the paper in the order of its Table 1, then the others of `methods` by name.

    >>> method_order(["probe", "vanilla", "dept"])
    ['finetune', 'vanilla', 'residual', 'dpt', 'dept', 'probe']
    """
    return [*METHODS, *sorted(set(methods) - set(METHODS))]


def _numbers() -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(FOLDER / "paper.csv", comment="#")
