"""The paper's tables from logged runs, with its own numbers below ours where the two can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rankprobe.bundled.paper import MODELS, paper_data, paper_name
from rankprobe.bundled.paper import TASKS as PAPER_TASKS
from rankprobe.errors import RankprobeError, unknown
from rankprobe.reports.blocks import DATA, METHODS, Block, Kind
from rankprobe.reports.choose import chosen
from rankprobe.runs import HALF, Frames, decisive, is_half, reported, reported_majority
from rankprobe.tasks import TASKS

Where = Mapping[str, Sequence[str]]

SCORES = {
    "last": "dev scores after the last step",
    "best": "dev scores of the best step, chosen on the dev rows",
}
SELECTION = {"all": "they are reported on, as in the paper", "half": "of one half, reported on the other"}
ROWS = {"all": "of all dev rows", "half": f"of the {HALF}"}
"""Which dev rows chose a best step, and which a last step is scored on, by `report_split`."""


@dataclass(frozen=True)
class Table:
    """A table before it is written out.

    Attributes:
        caption: what the numbers are, and what they are not.
        frame: a row per line; what is missing is NaN.
        notes: what a reader must know besides, a line each.
        heading: columns that name a group of rows; they are printed above it.
    """

    caption: str
    frame: pd.DataFrame
    notes: list[str]
    heading: tuple[str, ...] = ()


def table1(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Means over seeds of every method on every task: runs on all training rows, prompts of 100 tokens.

    Args:
        frames: the runs; only finished ones count.
        score: `last`, or `best`: of the step with the best dev score, as in the paper. Runs that hold back a
            half of dev are scored on that half.
        where: settings that runs must have, each with the values it may have; see `choose.chosen`.

    Raises:
        RankprobeError: no such run, or runs of one cell that differ in more than their seed.
    """
    return _scores(Kind("table1", METHODS, 100), frames, score, where)


def table2(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Rows of each task's splits, and its metric, as runs on all training rows had them; no score is shown.

    Arguments and errors as for Table 1.
    """
    _check(score)
    runs = chosen(frames, where or {})
    keys = ["task", "data_label", "data_source", "n_train", "n_validation", "metric"]
    rows = runs.loc[runs["shots"].isna(), keys].drop_duplicates()
    if rows.empty:
        raise RankprobeError("no run on all training rows; train one without --shots")
    paper = paper_data().set_index("task")
    order = rows["task"].map({task: place for place, task in enumerate(paper.index)})
    rows = rows.assign(order=order).sort_values(["order", *keys[1:]])
    beside = paper.reindex(rows["task"].where(rows["data_source"] != "bundled"))
    frame = pd.DataFrame(
        {
            "data": rows["data_label"].to_numpy(),
            "from": rows["data_source"].to_numpy(),
            "train": rows["n_train"].astype("Int64").array,
            "dev": rows["n_validation"].astype("Int64").array,
            "metric": rows["metric"].to_numpy(),
            "paper train": beside["train"].astype("Int64").array,
            "paper dev": beside["dev"].astype("Int64").array,
            "paper metric": beside["metric"].to_numpy(),
        }
    )
    caption = "After Table 2 of Xiao et al. (2023): rows of each task's splits, and its metric."
    return Table(caption + _miniature(rows), frame, [])


def table3(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Sample standard deviations over seeds of the scores of Table 1; arguments and errors as there."""
    return _scores(Kind("table3", METHODS[1:], 100, spread=True), frames, score, where)


def table4(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Residual prompt tuning with prompts of 10 tokens; arguments and errors as for Table 1."""
    return _scores(Kind("table4", ("residual",), 10), frames, score, where)


TABLES = {"table1": table1, "table2": table2, "table3": table3, "table4": table4}


def _scores(kind: Kind, frames: Frames, score: str, where: Where | None) -> Table:
    _check(score)
    runs = _selected(kind, chosen(frames, where or {}))
    runs = runs.assign(score=reported(runs, score), majority=reported_majority(runs))
    # How often it was evaluated decides which step is the best, and nothing else.
    free = ("twin", "eval_every") if score == "last" else ("twin",)
    parts = [own for _, own in runs.groupby(["data_source", "model_label"])]
    blocks = [Block(kind, own, score, decisive(frames.settings, *free)) for own in sorted(parts, key=_place)]
    metrics = paper_data().set_index("task")["metric"]
    columns = {"model": "model", "data": "data", "method": "method", "score": "score", "trained": "trained"}
    numbers = {task: f"{TASKS[task].title} {metrics[task]}" for task in PAPER_TASKS}
    if kind.spread:
        del columns["trained"]
    else:
        numbers["average"] = "Avg."
    frame = pd.DataFrame([row for block in blocks for row in block.rows()], dtype=object)
    frame = frame.reindex(columns=[*columns, *numbers]).astype(dict.fromkeys(numbers, float))
    notes = [note for block in blocks for note in block.notes()] + _about_paper(frame, score)
    if without := runs.loc[runs["score"].isna(), "run_id"].tolist():
        notes.append(f"left out, as the score to report is not in their logs: {', '.join(without)}")
    caption = _caption(kind, score, runs) + _miniature(runs)
    return Table(caption, frame.rename(columns=numbers), notes, heading=("model", "data"))


def _selected(kind: Kind, runs: pd.DataFrame) -> pd.DataFrame:
    """Finished runs on the paper's tasks, with all training rows and the paper's sizes."""
    finetune, dpt = runs["method"] == "finetune", runs["method"] == "dpt"
    keep = (runs["status"] == "finished") & runs["task"].isin(PAPER_TASKS)
    keep &= runs["shots"].isna() & (runs["control"] == "none")
    keep &= finetune | (runs["prompt_length"] == kind.prompt_length)
    if dpt.any():
        keep &= ~dpt | (runs["bottleneck"] == 10)
    if kind.name == "table4":
        keep &= runs["method"] == "residual"
    if not keep.any():
        only = " of residual" if kind.name == "table4" else ""
        raise RankprobeError(
            f"no finished run{only} on a task of the paper with {kind.prompt_length} prompt tokens, all "
            "training rows and true labels; see: rankprobe runs"
        )
    return runs[keep]


def _place(runs: pd.DataFrame) -> tuple[int, int, str]:
    """Where a block stands: the paper's models first, in its order, and the miniature last."""
    first = runs.iloc[0].to_dict()
    names = [*MODELS.values(), None]
    return list(DATA).index(first["data_source"]), names.index(paper_name(first)), first["model_label"]


def _caption(kind: Kind, score: str, runs: pd.DataFrame) -> str:
    what = "sample standard deviations (n − 1)" if kind.spread else "means"
    splits = sorted({"half" if half else "all" for half in is_half(runs)})
    how = " or ".join((SELECTION if score == "best" else ROWS)[split] for split in splits)
    how = "" if score == "last" and splits == ["all"] else f" {how}"
    size = " (dpt: bottleneck 10)" if "dpt" in kind.methods else ""
    return (
        f"After Table {kind.name[-1]} of Xiao et al. (2023): {what} over seeds of {SCORES[score]}{how}, "
        f"in percent; prompts of {kind.prompt_length} tokens{size}."
    )


def _miniature(runs: pd.DataFrame) -> str:
    some = (runs["data_source"] == "bundled").any()
    return " Miniature data are rankprobe's own, not SuperGLUE." if some else ""


def _about_paper(frame: pd.DataFrame, score: str) -> list[str]:
    """How the paper's rows differ from ours in kind, if there are any."""
    if "paper" not in set(frame["score"]):
        return []
    steps = ", of the best step, and ours of the last" if score == "last" else ""
    return [f"paper: as printed by Xiao et al. (2023), three runs a cell of prompt methods{steps}"]


def _check(score: str) -> None:
    if score not in SCORES:
        raise unknown("score", score, SCORES)
