"""The paper's own numbers, to stand beside ours: Tables 1 to 4, as printed.

Source: Xiao et al. (2023), Decomposed Prompt Tuning via Low-Rank Reparameterization, Findings of EMNLP.
Its Fine-Tuning rows of T5-Base and T5-Large carry an asterisk: they are not runs of the authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("wsc", "wic", "boolq", "cb", "copa", "multirc", "record", "rte")
"""The paper's tasks, in the order of its Table 1."""

MODELS = {"t5-small": "T5-Small", "t5-base": "T5-Base", "t5-large": "T5-Large"}
"""The last part of a model's hub id or folder, and the paper's name of it."""

QUOTED = (("T5-Base", "finetune"), ("T5-Large", "finetune"))
"""Rows of Table 1 with an asterisk."""


def paper_scores() -> pd.DataFrame:
    """Tables 1, 3 and 4: dev scores in percent (1 and 4), their standard deviations over three runs (3).

    The paper does not say whether Table 3 divides by n or n − 1. Its COPA column does: scores of 100 rows are
    whole numbers, and three of them give the numbers printed by n − 1 only, cut to two decimals, not rounded.

    Returns:
        A row per number: `table` (`table1`, `table3`, `table4`), `model`, `method` (our names),
        `prompt_length` (NaN for finetune), `trained` (as printed, `51K`; NaN in Table 3), `task` (also
        `average`, in Tables 1 and 4), `value`.
    """
    numbers = _numbers()
    columns = ["table", "model", "method", "prompt_length", "trained", "task", "value"]
    return numbers.loc[numbers["table"] != "table2", columns].reset_index(drop=True)


def paper_data() -> pd.DataFrame:
    """Table 2: rows of each task's training and dev split, and its metric, `Acc.` or `F1`.

    Returns:
        A row per task, in the order printed: `task`, `train`, `dev`, `metric`.
    """
    numbers = _numbers()
    counts = numbers[numbers["table"] == "table2"].astype({"value": int})
    wide = counts.pivot(index=["task", "metric"], columns="quantity", values="value").reset_index()
    printed = wide.set_index("task").loc[list(dict.fromkeys(counts["task"]))].reset_index()
    return printed[["task", "train", "dev", "metric"]].rename_axis(columns=None)


def paper_name(run: Mapping[Any, Any]) -> str | None:
    """The paper's name of a run's model, where the run can stand beside the paper; otherwise None.

    It can if it is of pretrained T5-Small, T5-Base or T5-Large, by the last part of the model's name, on one
    of the paper's tasks that is not our miniature. Which checkpoint of T5 the paper took, it does not say.

    Args:
        run: a row of `Frames.runs`; read are `task`, `data_source`, `random_weights` and `model`.
    """
    if run["task"] not in TASKS or run["data_source"] == "bundled" or run["random_weights"]:
        return None
    return MODELS.get(str(run["model"]).rstrip("/").rpartition("/")[2])


def _numbers() -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(Path(__file__).with_name("paper.csv"), comment="#")
