"""The numbers of a run folder, step by step; while the run goes on, the new ones at each call."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rankprobe.errors import RankprobeError
from rankprobe.runs import Run
from rankprobe.runs.contract import with_current_names
from rankprobe.trackers.base import Point


class PointReader:
    """Reads each step of a run once.

    A point has the row of `steps` and the rows of `evals` of one step. Steps without a row in `steps` (a
    process was killed while it wrote) have no point; a resume writes them again.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.last_step = -1
        self._offsets = {"steps": 0, "evals": 0}
        self._evals: dict[int, dict[str, float]] = {}
        self._by_scoring = run.manifest["config"].get("scoring") == "both"

    def new_points(self) -> list[Point]:
        """The points after those of earlier calls, in the order of their steps.

        Raises:
            RankprobeError: a log is damaged.
        """
        # Steps first: the evaluation of a step is written before its row of `steps`.
        steps = self._new_rows("steps")
        for row in self._new_rows("evals"):
            self._evals.setdefault(row["step"], {}).update(self._of_evaluation(row))
        points = [
            Point(row["step"], _numbers("steps", row) | self._evals.pop(row["step"], {}))
            for row in steps
            if row["step"] > self.last_step
        ]
        self.last_step = points[-1].step if points else self.last_step
        return points

    def _new_rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a log that were not read yet; of a finished run, all of them."""
        try:
            with (self.run.path / f"{name}.jsonl").open("rb") as file:
                file.seek(self._offsets[name])
                lines = file.read().split(b"\n")[:-1]  # the last one is empty, or not yet complete
        except FileNotFoundError:
            return self.run.log(name).to_dict("records")  # type: ignore[return-value]
        self._offsets[name] += sum(len(line) + 1 for line in lines)
        try:
            return [with_current_names(_row(line)) for line in lines]
        except (ValueError, RecursionError) as error:
            raise RankprobeError(f"{self.run.path / name}.jsonl is damaged ({error})") from None

    def _of_evaluation(self, row: Mapping[str, Any]) -> dict[str, float]:
        """The numbers of a row of `evals`: the score, its baseline, the answers outside the label set."""
        parts = ["evals", row["split"], *([row["scoring"]] if self._by_scoring else [])]
        group, metric = "/".join(map(str, parts)), row["metric"]
        named = {
            metric: row["value"],
            f"{metric}_baseline": row.get("baseline"),
            "n_invalid": row.get("n_invalid"),
        }
        return _numbers(group, named)


def _row(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError("a row is not a JSON object with a step")
    return row


def _numbers(group: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row except its step, as `<group>/<column>`. A missing value has no number."""
    return {f"{group}/{name}": float(value) for name, value in _finite(row.items()) if name != "step"}


def _finite(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, float]]:
    for name, value in items:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, value
