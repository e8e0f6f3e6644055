"""MLflow. Server or files, and the experiment, are those of its environment (`MLFLOW_TRACKING_URI`, …)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, final

from rankprobe.trackers.base import PROJECT, Point, TrackedRun, Tracker

ID, STARTED = "rankprobe.run_id", "rankprobe.started"
"""The tags by which a run is found again."""

STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "killed": "KILLED"}

MAX_METRICS, MAX_PARAMS = 1000, 100
"""The most that MLflow takes in one request."""


@final
class MLflow(Tracker):
    """A run with the run id as its name and its tag `rankprobe.run_id`. The report is an artifact."""

    requires = ("mlflow", "mlflow")

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        self._client = import_module("mlflow").MlflowClient()
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        self._id = self._known(run, experiment) or self._new(run, experiment)
        self.place = f"{self._client.tracking_uri}, experiment {experiment}, run {self._id}"

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)

    def _known(self, run: TrackedRun, experiment: str) -> str | None:
        """The id in MLflow of the same training; a training that was started over is deleted there."""
        mark = '"' if "'" in run.id else "'"
        for known in self._client.search_runs([experiment], f"tags.`{ID}` = {mark}{run.id}{mark}"):
            known_id = known.info.run_id
            if known.data.tags.get(STARTED) != run.started:
                self._client.delete_run(known_id)
                continue
            self._client.update_run(known_id, status="RUNNING")
            histories = (self._client.get_metric_history(known_id, name) for name in known.data.metrics)
            self.last_step = max((metric.step for each in histories for metric in each), default=-1)
            return known_id
        return None

    def _new(self, run: TrackedRun, experiment: str) -> str:
        tags = {ID: run.id, STARTED: run.started}
        new = self._client.create_run(experiment, tags=tags, run_name=run.id).info.run_id
        param = import_module("mlflow.entities").Param
        params = [param(name, str(value)) for name, value in run.config.items()]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(new, params=params[start : start + MAX_PARAMS])
        return new

    def log(self, points: Sequence[Point]) -> None:
        now = int(time.time() * 1000)
        for metrics in _batches(points, now):
            self._client.log_batch(self._id, metrics=metrics)

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        if findings:
            self._client.set_tag(self._id, "mlflow.note.content", "\n\n".join(findings))
        if report:
            self._client.log_artifact(self._id, str(report))
        if status in STATUS:
            self._client.set_terminated(self._id, STATUS[status])


def _batches(points: Sequence[Point], now: int) -> Iterator[list[Any]]:
    """The metrics of points, in requests that do not split a step, so that it is there as a whole or not."""
    metric = import_module("mlflow.entities").Metric
    batch: list[Any] = []
    for point in points:
        metrics = [metric(name, value, now, point.step) for name, value in point.values.items()]
        if batch and len(batch) + len(metrics) > MAX_METRICS:
            yield batch
            batch = []
        batch += metrics
    if batch:
        yield batch
