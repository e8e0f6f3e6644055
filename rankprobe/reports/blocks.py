"""The part of a table about one model on one kind of data: its rows and its notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rankprobe.paper import QUOTED, method_order, paper_data, paper_name, paper_scores
from rankprobe.paper import TASKS as PAPER_TASKS
from rankprobe.reports.choose import check_equal_settings, check_unique_seeds
from rankprobe.runs import HALF, is_half
from rankprobe.tasks import TASKS

DATA_NAMES = {
    "hub": "SuperGLUE",
    "folder": "SuperGLUE from a folder",
    "bundled": "miniature data",
    "file": "its own files",
}
"""How tables name each `data_source`."""

ROW_SETTINGS = ("data", "report_split")
"""Settings that select the dev rows of a score. Scores of different dev rows do not share a column."""


@dataclass(frozen=True)
class TableSpec:
    """The properties of one table of scores.

    Attributes:
        name: `table1`, `table3` or `table4`.
        methods: the paper's methods in this table.
        prompt_length: n of all methods with a prompt.
        spread: True if the cells are standard deviations over seeds, False if they are means.
    """

    name: str
    methods: tuple[str, ...]
    prompt_length: int
    spread: bool = False


class Block:
    """The rows of one model on one kind of data.

    Args:
        spec: the table.
        runs: rows of `Frames.runs`, at least one, with the reported score in the column `score` and the
            baseline of the same dev rows in the column `baseline`. Runs whose score is NaN are not counted.
        score: which score it is: `last` or `best`.
        shared: settings that all runs of one cell must share.

    Raises:
        RankprobeError: runs of one cell differ in a shared setting, or two have the same seed; or the
            scores of one task are from different dev rows.
    """

    def __init__(self, spec: TableSpec, runs: pd.DataFrame, score: str, shared: Collection[str]) -> None:
        first = runs.iloc[0].to_dict()
        self.spec, self.runs, self.score = spec, runs, score
        self.model, self.data = first["model_label"], DATA_NAMES[first["data_source"]]
        self.paper_model = paper_name(first)
        present = set(runs["method"])
        self.methods = [method for method in method_order(present) if method in present]
        self.tasks = [task for task in PAPER_TASKS if (runs["task"] == task).any()]
        self.seeds: Counter[tuple[str, str]] = Counter()
        self.values: dict[tuple[str, str], float] = {}
        for task in self.tasks:
            task_runs = runs[runs["task"] == task]
            check_equal_settings(task_runs, ROW_SETTINGS, f"{self.model} on {TASKS[task].title}")
            for method, cell in task_runs.groupby("method"):
                what = f"{method} of {self.model} on {TASKS[task].title}"
                check_equal_settings(cell, shared, what)
                check_unique_seeds(cell, what)
                self.seeds[str(method), task] = int(cell["score"].notna().sum())
                value = cell["score"].std(ddof=1) if spec.spread else cell["score"].mean()
                self.values[str(method), task] = float(value)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per method, each followed by the paper's row for this method; the last row is the baseline.

        `average` is over the block's tasks; it is NaN in a row that lacks one of them.
        """
        printed = paper_scores()
        printed = printed[(printed["table"] == self.spec.name) & (printed["model"] == self.paper_model)]
        for method in self.methods:
            cells = {task: self.values.get((method, task), np.nan) for task in self.tasks}
            yield self._row(method, self.score, self._trained(method), cells)
            paper = printed[printed["method"] == method]
            if len(paper):
                cells = dict(zip(paper["task"], paper["value"], strict=True))
                # The paper averages over all its tasks; our average over fewer tasks is not comparable.
                average = cells.pop("average", np.nan) if len(self.tasks) == len(PAPER_TASKS) else np.nan
                yield self._row(method, "paper", paper["trained"].iloc[0], cells) | {"average": average}
        if not self.spec.spread:
            baseline = self.runs.groupby("task")["baseline"].mean()
            yield self._row("baseline", "", None, {task: float(baseline[task]) for task in self.tasks})

    def _row(self, method: str, score: str, trained: Any, cells: dict[str, float]) -> dict[str, Any]:
        labels = {"model": self.model, "data": self.data, "method": method, "score": score}
        return labels | {"trained": trained} | cells | {"average": float(np.mean(list(cells.values())))}

    def _trained(self, method: str) -> str | int:
        """The number of trainable parameters, or its range if it differs between runs."""
        counts = self.runs.loc[self.runs["method"] == method, "trainable_parameters"]
        low, high = int(counts.min()), int(counts.max())
        return low if low == high else f"{low:,}–{high:,}"

    def notes(self) -> Iterator[str]:
        """Notes below the table: empty cells, seeds per cell, tasks of the average, and the paper's rows."""
        name = f"{self.model}, {self.data}"
        empty: dict[tuple[str, ...], list[str]] = {}
        for method in dict.fromkeys([*self.spec.methods, *self.methods]):
            missing = [task for task in PAPER_TASKS if np.isnan(self.values.get((method, task), np.nan))]
            if missing:
                empty.setdefault(tuple(missing), []).append(method)
        if empty:
            reason = "fewer than two seeds" if self.spec.spread else "no finished run"
            yield f"{name}: {reason} of " + "; ".join(
                f"{', '.join(methods)} on {_titles(tasks)}" for tasks, methods in empty.items()
            )
        most_common = Counter(count for count in self.seeds.values() if count).most_common(1)
        if most_common:
            yield self._seed_note(name, most_common[0][0])
        if not self.spec.spread and len(self.tasks) < len(PAPER_TASKS):
            yield f"{name}: the average is over {_titles(self.tasks)} only"
        if self.paper_model:
            yield from self._paper_notes(name)

    def _seed_note(self, name: str, usual: int) -> str:
        """The usual number of seeds per cell, and the cells with another number."""
        exceptions: dict[tuple[str, int], list[str]] = {}
        for (method, task), count in self.seeds.items():
            if count not in (0, usual):
                exceptions.setdefault((method, count), []).append(task)
        texts = [f"{method} on {_titles(tasks)} {count}" for (method, count), tasks in exceptions.items()]
        return f"{name}: {usual} seed{'s' if usual > 1 else ''} a cell" + (
            f", but {', '.join(texts)}" if texts else ""
        )

    def _paper_notes(self, name: str) -> Iterator[str]:
        """How the paper's rows differ from ours: quoted scores, other dev rows, other numbers of rows."""
        if not self.spec.spread and any((self.paper_model, method) in QUOTED for method in self.methods):
            yield f"{name}: the paper quotes its finetune from earlier work"
        if is_half(self.runs).any():
            yield f"{name}: scores are of the {HALF}, those of the paper of all dev rows"
        sizes = paper_data().set_index("task")[["train", "dev"]]
        differing = [
            task
            for task, task_runs in self.runs.groupby("task")
            if (task_runs[["n_train", "n_validation"]].to_numpy() != sizes.loc[str(task)].to_numpy()).any()
        ]
        if differing:
            titles = _titles([task for task in self.tasks if task in differing])
            yield f"{name}: not as many rows as in the paper on {titles}; see table2"


def _titles(tasks: Collection[str]) -> str:
    return "all tasks" if len(tasks) == len(PAPER_TASKS) else ", ".join(TASKS[task].title for task in tasks)
