"""The paper's tables from logged runs. The paper's own numbers follow ours if the two are comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rankprobe.errors import RankprobeError, unknown
from rankprobe.paper import METHODS, MODELS, paper_data, paper_name
from rankprobe.paper import TASKS as PAPER_TASKS
from rankprobe.reports.blocks import DATA_NAMES, Block, TableSpec
from rankprobe.reports.choose import select_runs
from rankprobe.runs import HALF, Frames, is_half, reported, reported_baseline, shared_settings
from rankprobe.runs.html import frame_html
from rankprobe.tasks import TASKS
from rankprobe.text import html

Where = Mapping[str, Sequence[str]]

SCORES = {
    "last": "dev scores after the last step",
    "best": "dev scores of the best step, chosen on the dev rows",
}
"""The scores that a table can show, as its caption describes them."""

SELECTION_ROWS = {
    "all": "they are reported on, as in the paper",
    "half": "of one half, reported on the other",
}
"""End of a caption about best steps, by `report_split`: the dev rows that selected them."""

SCORED_ROWS = {"all": "of all dev rows", "half": f"of the {HALF}"}
"""End of a caption about last steps, by `report_split`: the dev rows that scored them."""

BOTTLENECK = 10
"""b of DPT in the paper's tables."""


@dataclass(frozen=True)
class Table:
    """A table before it is formatted.

    Attributes:
        caption: the meaning of the numbers, and their data.
        frame: a row per line; missing values are NaN.
        notes: what else a reader must know, one line each.
        heading: columns that name a group of rows; they are printed above the group.
    """

    caption: str
    frame: pd.DataFrame
    notes: list[str]
    heading: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """For notebooks: caption, rows and notes."""
        notes = "".join(f"<li>{html(note)}</li>" for note in self.notes)
        return f"<p>{html(self.caption)}</p>{frame_html(self.frame)}" + (f"<ul>{notes}</ul>" if notes else "")


def table1(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Mean score over seeds of each method on each task, trained on all rows with prompts of 100 tokens.

    Args:
        frames: the runs; unfinished runs are ignored.
        score: `last`, or `best` (of the step with the best dev score, as in the paper). Runs that hold back
            half of dev are scored on this half.
        where: the accepted values of settings; see `choose.select_runs`.

    Raises:
        RankprobeError: no run is left, or runs of one cell differ in more than their seed.
    """
    return _score_table(TableSpec("table1", METHODS, 100), frames, score, where)


def table2(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Numbers of rows of each task's splits, and its metric, from runs on all training rows.

    Arguments and errors are as in `table1`; `score` has no effect.
    """
    check_score(score)
    runs = select_runs(frames, where or {})
    keys = ["task", "data_label", "data_source", "n_train", "n_validation", "metric"]
    rows = runs.loc[runs["shots"].isna(), keys].drop_duplicates()
    if rows.empty:
        raise RankprobeError("no run on all training rows; train one without --shots")
    paper = paper_data().set_index("task")
    order = rows["task"].map({task: position for position, task in enumerate(paper.index)})
    rows = rows.assign(order=order).sort_values(["order", *keys[1:]])
    printed = paper.reindex(rows["task"].where(rows["data_source"] != "bundled"))
    frame = pd.DataFrame(
        {
            "data": rows["data_label"].to_numpy(),
            "from": rows["data_source"].to_numpy(),
            "train": rows["n_train"].astype("Int64").array,
            "dev": rows["n_validation"].astype("Int64").array,
            "metric": rows["metric"].to_numpy(),
            "paper train": printed["train"].astype("Int64").array,
            "paper dev": printed["dev"].astype("Int64").array,
            "paper metric": printed["metric"].to_numpy(),
        }
    )
    caption = "After Table 2 of Xiao et al. (2023): rows of each task's splits, and its metric."
    return Table(caption + _miniature_sentence(rows), frame, [])


def table3(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Sample standard deviations over seeds of the scores in Table 1; arguments and errors as in `table1`."""
    return _score_table(TableSpec("table3", METHODS[1:], 100, spread=True), frames, score, where)


def table4(frames: Frames, score: str = "last", where: Where | None = None) -> Table:
    """Scores of residual prompt tuning with prompts of 10 tokens; arguments and errors as in `table1`."""
    return _score_table(TableSpec("table4", ("residual",), 10), frames, score, where)


PAPER_TABLES = {"table1": table1, "table2": table2, "table3": table3, "table4": table4}


def _score_table(spec: TableSpec, frames: Frames, score: str, where: Where | None) -> Table:
    check_score(score)
    runs = _table_runs(spec, select_runs(frames, where or {}))
    runs = runs.assign(score=reported(runs, score), baseline=reported_baseline(runs))
    # The evaluation interval affects which step is the best, but not the last step.
    free = ("twin", "eval_every") if score == "last" else ("twin",)
    parts = [part for _, part in runs.groupby(["data_source", "model_label"])]
    parts.sort(key=_block_order)
    blocks = [Block(spec, part, score, shared_settings(frames.settings, *free)) for part in parts]
    metrics = paper_data().set_index("task")["metric"]
    labels = ["model", "data", "method", "score", *([] if spec.spread else ["trained"])]
    numbers = {task: f"{TASKS[task].title} {metrics[task]}" for task in PAPER_TASKS}
    if not spec.spread:
        numbers["average"] = "Avg."
    frame = pd.DataFrame([row for block in blocks for row in block.rows()], dtype=object)
    frame = frame.reindex(columns=[*labels, *numbers]).astype(dict.fromkeys(numbers, float))
    notes = [note for block in blocks for note in block.notes()] + _paper_note(frame, score)
    if without_score := runs.loc[runs["score"].isna(), "run_id"].tolist():
        notes.append(f"left out, as the score to report is not in their logs: {', '.join(without_score)}")
    caption = _caption(spec, score, runs) + _miniature_sentence(runs)
    return Table(caption, frame.rename(columns=numbers), notes, heading=("model", "data"))


def _table_runs(spec: TableSpec, runs: pd.DataFrame) -> pd.DataFrame:
    """Finished runs on the paper's tasks with all training rows, true labels, and the paper's n and b.

    Raises:
        RankprobeError: no run is left.
    """
    finetune, dpt = runs["method"] == "finetune", runs["method"] == "dpt"
    selected = (runs["status"] == "finished") & runs["task"].isin(PAPER_TASKS)
    selected &= runs["shots"].isna() & (runs["control"] == "none")
    selected &= finetune | (runs["prompt_length"] == spec.prompt_length)
    if dpt.any():
        selected &= ~dpt | (runs["bottleneck"] == BOTTLENECK)
    if spec.name == "table4":
        selected &= runs["method"] == "residual"
    if not selected.any():
        method = " of residual" if spec.name == "table4" else ""
        raise RankprobeError(
            f"no finished run{method} on a task of the paper with {spec.prompt_length} prompt tokens, all "
            "training rows and true labels; see: rankprobe runs"
        )
    return runs[selected]


def _block_order(runs: pd.DataFrame) -> tuple[int, int, str]:
    """Sort key of a block: SuperGLUE, then miniature data; in each, the paper's models, then other models."""
    first = runs.iloc[0].to_dict()
    names = [*MODELS.values(), None]
    return list(DATA_NAMES).index(first["data_source"]), names.index(paper_name(first)), first["model_label"]


def _caption(spec: TableSpec, score: str, runs: pd.DataFrame) -> str:
    statistic = "sample standard deviations (n − 1)" if spec.spread else "means"
    splits = sorted({"half" if half else "all" for half in is_half(runs)})
    rows = " or ".join((SELECTION_ROWS if score == "best" else SCORED_ROWS)[split] for split in splits)
    rows = "" if score == "last" and splits == ["all"] else f" {rows}"
    size = f" (dpt: bottleneck {BOTTLENECK})" if "dpt" in spec.methods else ""
    return (
        f"After Table {spec.name[-1]} of Xiao et al. (2023): {statistic} over seeds of {SCORES[score]}"
        f"{rows}, in percent; prompts of {spec.prompt_length} tokens{size}."
    )


def _miniature_sentence(runs: pd.DataFrame) -> str:
    has_miniature = (runs["data_source"] == "bundled").any()
    return " Miniature data are rankprobe's own, not SuperGLUE." if has_miniature else ""


def _paper_note(frame: pd.DataFrame, score: str) -> list[str]:
    """A note on the origin of the paper's rows; empty if the table has none."""
    if "paper" not in set(frame["score"]):
        return []
    steps = ", of the best step, and ours of the last" if score == "last" else ""
    return [f"paper: as printed by Xiao et al. (2023), three runs a cell of prompt methods{steps}"]


def check_score(score: str) -> None:
    """Refuse a score that is neither `last` nor `best`.

    Raises:
        RankprobeError: an unknown score.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
