"""The part of a table that is of one model on one kind of data: its cells, and what to know about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rankprobe.bundled.paper import QUOTED, paper_data, paper_name, paper_scores
from rankprobe.bundled.paper import TASKS as PAPER_TASKS
from rankprobe.reports.choose import check_alike, check_seeds
from rankprobe.runs import HALF, is_half
from rankprobe.tasks import TASKS

METHODS = ("finetune", "vanilla", "residual", "dpt")
"""The paper's methods in the order of its Table 1; others come after them."""

DATA = {"hub": "SuperGLUE", "folder": "SuperGLUE from a folder", "bundled": "miniature data"}
SAME_ROWS = ("data", "report_split")
"""Settings that decide which dev rows a score is of: it stands beside scores of the same rows only."""


@dataclass(frozen=True)
class Kind:
    """What the tables of scores differ in; `spread`: the cells are standard deviations, not means."""

    name: str
    methods: tuple[str, ...]
    prompt_length: int
    spread: bool = False


class Block:
    """The cells of one model on one kind of data.

    Args:
        kind: of which table.
        runs: rows of `Frames.runs`, at least one, with the columns `score` and `majority` of the dev rows
            that are reported; a run whose score is NaN counts in no cell.
        score: which one it is: `last` or `best`.
        decisive: settings that runs of one cell must share.

    Raises:
        RankprobeError: runs of a cell differ in one of them, or have the same seed; or scores of a task are
            of different dev rows.
    """

    def __init__(self, kind: Kind, runs: pd.DataFrame, score: str, decisive: Collection[str]) -> None:
        first = runs.iloc[0].to_dict()
        self.kind, self.runs, self.score = kind, runs, score
        self.model, self.data = first["model_label"], DATA[first["data_source"]]
        self.paper = paper_name(first)
        found = set(runs["method"])
        self.methods = [each for each in METHODS if each in found] + sorted(found - set(METHODS))
        self.tasks = [task for task in PAPER_TASKS if (runs["task"] == task).any()]
        self.seeds: Counter[tuple[str, str]] = Counter()
        self.values: dict[tuple[str, str], float] = {}
        for task in self.tasks:
            on_task = runs[runs["task"] == task]
            check_alike(on_task, SAME_ROWS, f"{self.model} on {TASKS[task].title}")
            for method, cell in on_task.groupby("method"):
                what = f"{method} of {self.model} on {TASKS[task].title}"
                check_alike(cell, decisive, what)
                check_seeds(cell, what)
                self.seeds[str(method), task] = int(cell["score"].notna().sum())
                value = cell["score"].std(ddof=1) if kind.spread else cell["score"].mean()
                self.values[str(method), task] = float(value)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per method, that of the paper below it, and the majority class at last.

        `average` is over the tasks of the block, and only where the row has them all.
        """
        printed = paper_scores()
        printed = printed[(printed["table"] == self.kind.name) & (printed["model"] == self.paper)]
        for method in self.methods:
            cells = {task: self.values.get((method, task), np.nan) for task in self.tasks}
            yield self._row(method, self.score, self._trained(method), cells)
            paper = printed[printed["method"] == method]
            if len(paper):
                cells = dict(zip(paper["task"], paper["value"], strict=True))
                # The paper's average is over all tasks: beside one over fewer it would mislead.
                average = cells.pop("average", np.nan) if len(self.tasks) == len(PAPER_TASKS) else np.nan
                yield self._row(method, "paper", paper["trained"].iloc[0], cells) | {"average": average}
        if not self.kind.spread:
            majority = self.runs.groupby("task")["majority"].mean()
            yield self._row("majority class", "", None, {task: float(majority[task]) for task in self.tasks})

    def _row(self, method: str, score: str, trained: Any, cells: dict[str, float]) -> dict[str, Any]:
        about = {"model": self.model, "data": self.data, "method": method, "score": score, "trained": trained}
        return about | cells | {"average": float(np.mean(list(cells.values())))}

    def _trained(self, method: str) -> str | int:
        counts = self.runs.loc[self.runs["method"] == method, "trainable_parameters"]
        least, most = int(counts.min()), int(counts.max())
        return least if least == most else f"{least:,}–{most:,}"

    def notes(self) -> Iterator[str]:
        """Which cells are empty, how many seeds the others have, and what an average is over."""
        name = f"{self.model}, {self.data}"
        empty: dict[tuple[str, ...], list[str]] = {}
        for method in dict.fromkeys([*self.kind.methods, *self.methods]):
            lacking = [t for t in PAPER_TASKS if np.isnan(self.values.get((method, t), np.nan))]
            if lacking:
                empty.setdefault(tuple(lacking), []).append(method)
        if empty:
            why = "fewer than two seeds" if self.kind.spread else "no finished run"
            yield f"{name}: {why} of " + "; ".join(
                f"{', '.join(methods)} on {_titles(tasks)}" for tasks, methods in empty.items()
            )
        usual = Counter(count for count in self.seeds.values() if count).most_common(1)
        if usual:
            yield from self._seed_notes(name, usual[0][0])
        if not self.kind.spread and len(self.tasks) < len(PAPER_TASKS):
            yield f"{name}: the average is over {_titles(self.tasks)} only"
        if self.paper:
            yield from self._paper_notes(name)

    def _seed_notes(self, name: str, usual: int) -> Iterator[str]:
        others: dict[tuple[str, int], list[str]] = {}
        for (method, task), count in self.seeds.items():
            if count not in (0, usual):
                others.setdefault((method, count), []).append(task)
        other = [f"{method} on {_titles(tasks)} {count}" for (method, count), tasks in others.items()]
        yield f"{name}: {usual} seed{'s' if usual > 1 else ''} a cell" + (
            f", but {', '.join(other)}" if other else ""
        )

    def _paper_notes(self, name: str) -> Iterator[str]:
        """What of the paper's rows below ours is of other runs, or of other data."""
        if not self.kind.spread and any((self.paper, method) in QUOTED for method in self.methods):
            yield f"{name}: the paper quotes its finetune from earlier work"
        if is_half(self.runs).any():
            yield f"{name}: scores are of the {HALF}, those of the paper of all dev rows"
        sizes = paper_data().set_index("task")[["train", "dev"]]
        other = [
            task
            for task, own in self.runs.groupby("task")
            if (own[["n_train", "n_validation"]].to_numpy() != sizes.loc[str(task)].to_numpy()).any()
        ]
        if other:
            titles = _titles([task for task in self.tasks if task in other])
            yield f"{name}: not as many rows as in the paper on {titles}; see table2"


def _titles(tasks: Collection[str]) -> str:
    return "all tasks" if len(tasks) == len(PAPER_TASKS) else ", ".join(TASKS[task].title for task in tasks)
