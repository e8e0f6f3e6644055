"""Weights & Biases. Project, mode, account and folder are those of its environment (`WANDB_PROJECT`, …)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import final

from rankprobe.errors import RankprobeError
from rankprobe.trackers.base import PROJECT, Point, TrackedRun, Tracker

STARTED = "started"


@final
class Wandb(Tracker):
    """A run whose id and name are the run id. The report is an artifact `report-<id>`."""

    requires = ("wandb", "wandb")

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would send crashes to W&B, also offline
        wandb = import_module("wandb")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id,
            name=run.id,
            resume="allow",
            reinit="create_new",  # several runs at the same time
            config=dict(run.config),
            # Only what the run folder holds: this process is not the training.
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True
            ),
        )
        folder = Path(self.run.dir).parent
        self.place = str(folder if self.run.offline else self.run.url)
        if self.run.offline:
            _remove_copies(folder, run.id)
        # The first step that W&B still takes; 0 of a new run.
        self.last_step = self.run.step - 1
        self._refuse_another(run)

    def _refuse_another(self, run: TrackedRun) -> None:
        """Make sure that W&B does not have another training under this id, whose steps cannot be replaced.

        Raises:
            RankprobeError: it has.
        """
        theirs = self.run.summary.get(STARTED)
        if self.run.resumed and theirs != run.started:
            self.run.finish()
            raise RankprobeError(
                f"W&B has another training of the id '{run.id}', whose steps cannot be replaced; delete it "
                "there, or rename the run folder"
            )
        self.run.summary[STARTED] = run.started

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self.run.log(dict(point.values), step=point.step)

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        self.run.summary.update({"status": status, "findings": "\n".join(findings)})
        if report:
            artifact = import_module("wandb").Artifact(f"report-{self.run.id}", type="report")
            artifact.add_file(str(report), name="report.html")
            self.run.log_artifact(artifact)
        self.run.finish(exit_code=0 if status in ("finished", "running") else 1)


def _remove_copies(folder: Path, run_id: str) -> None:
    """Remove the folders that earlier reports of this run left offline: `wandb sync` would send it twice."""
    for copy in folder.parent.glob("offline-run-*"):
        if copy != folder and copy.name[len("offline-run-YYYYMMDD_hhmmss-") :] == run_id:
            shutil.rmtree(copy)
