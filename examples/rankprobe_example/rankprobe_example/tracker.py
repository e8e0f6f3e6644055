"""The tracker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import final

from rankprobe.trackers import Point, TrackedRun, Tracker


@final
class Lines(Tracker):
    """A line of JSON per step, in a file beside the run folder."""

    takes_report = False

    def __init__(self, run: TrackedRun) -> None:
        self.place = f"{run.path}.lines"
        Path(self.place).write_text("")

    def log(self, points: Sequence[Point]) -> None:
        with Path(self.place).open("a") as file:
            file.writelines(json.dumps({"step": p.step, **p.values}) + "\n" for p in points)

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        """Nothing is open."""
