"""Trackers as a package could add them; `installed` in test_live.py registers them by their entry points.

They write what they get as lines of JSON to the file FAKE_TRACKED.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rankprobe.trackers import Point, TrackedRun, Tracker


def tell(**facts: Any) -> None:
    with Path(os.environ["FAKE_TRACKED"]).open("a") as file:
        file.write(json.dumps(facts) + "\n")


class Good(Tracker):
    @property
    def name(self) -> str:
        return type(self).__name__

    def __init__(self, run: TrackedRun) -> None:
        self.id, self.place = run.id, f"good:{run.id}"
        file = Path(os.environ["FAKE_TRACKED"])
        told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        # Of this tracker: two of them are two processes that write to one file.
        own = [row for row in told if (row["run"], row.get("to")) == (run.id, self.name)]
        self.last_step = max((row["step"] for row in own if "step" in row), default=-1)
        tell(run=run.id, opened=os.getpid(), config=dict(run.config))

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            tell(run=self.id, to=self.name, step=point.step, values=dict(point.values))

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        text = report.read_text().strip()[:15] if report else None
        tell(run=self.id, status=status, findings=list(findings), report=text)


class Light(Good):
    """Without the report, which takes seconds to make."""

    takes_report = False


class Broken(Light):
    def log(self, points: Sequence[Point]) -> None:
        raise ValueError("the disk of the server is full\nand more")


class Hanging(Light):
    def log(self, points: Sequence[Point]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tell(run=self.id, hangs=os.getpid())
        time.sleep(600)


class Missing(Light):
    requires = ("no_such_module", "no-such-package")
