"""Trackio. Its folder, Space or server are those of its environment (`TRACKIO_DIR`, …)."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from contextvars import Context
from importlib import import_module
from pathlib import Path
from typing import final

from rankprobe.trackers.base import PROJECT, Point, TrackedRun, Tracker


@final
class Trackio(Tracker):
    """A run whose name is the run id. The report is an artifact `report-<id>`."""

    requires = ("trackio", "trackio")

    def __init__(self, run: TrackedRun) -> None:
        trackio = import_module("trackio")
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        with suppress(ValueError):  # no run of the project is on this machine
            for known in trackio.Api().runs(project):
                if known.name == run.id and (known.config or {}).get("started") != run.started:
                    known.delete()  # a training that was started over
        # init ends the run that was opened before, unless it is called in a context of its own.
        with redirect_stdout(io.StringIO()):
            self.run = Context().run(
                trackio.init,
                project=project,
                name=run.id,
                resume="allow",
                embed=False,
                config=dict(run.config),
                auto_log_cpu=False,  # this process is not the training
                auto_log_gpu=False,
            )
        self.place = f"trackio show --project {project}"
        self.last_step = self.run._next_step - 1

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self.run.log(dict(point.values), step=point.step)

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        if report:
            self.run.log_artifact(report, name=f"report-{self.run.name}", type="report")
        with redirect_stdout(io.StringIO()):
            self.run.finish()
