"""A run to its trackers: once, or until it ends."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rankprobe.errors import RankprobeError, TrackerFailed
from rankprobe.plugins import reason_of
from rankprobe.runs import Run
from rankprobe.trackers.base import Point, TrackedRun, Tracker
from rankprobe.trackers.points import PointReader
from rankprobe.trackers.registry import TRACKERS, chosen_trackers

POLL = 2.0
"""Seconds between two looks at the run folder of a run that goes on."""


@dataclass(frozen=True)
class Tracked:
    """What one tracker got of one run.

    Attributes:
        run_id: the run.
        tracker: its name.
        place: where the run can be seen, in the words of the tracker.
        last_step: the last step that the tracker has; -1: none.
        n_sent: number of steps that were sent now; the tracker had the others already.
        error: why it did not get all; None: it did.
    """

    run_id: str
    tracker: str
    place: str
    last_step: int
    n_sent: int
    error: str | None


def track(runs: Sequence[Run], to: str | Sequence[str], *, follow: bool = False) -> list[Tracked]:
    """Send what run folders hold to trackers: readings of runs and twins, scores, settings, the report.

    >>> track(rp.list_runs("runs"), "tensorboard,mlflow")  # doctest: +SKIP

    A tracker that has the run already gets the steps that it lacks. Where it is, and whether it uses the
    network, is what its own environment says, such as `WANDB_MODE=offline`.

    Args:
        runs: finished, stopped, or going on.
        to: names of trackers, as a sequence or with commas.
        follow: report runs that go on until they end; without it, they get what their folders hold now.

    Returns:
        A row per run and tracker. One that fails does not keep the others from their runs.

    Raises:
        RankprobeError: no such tracker, its package is not installed, or two runs have the same id.
    """
    names = chosen_trackers(to)
    distinct = {run.path.resolve(): run for run in runs}.values()
    for run_id, count in Counter(run.id for run in distinct).items():
        if count > 1:
            raise RankprobeError(f"{count} runs are named '{run_id}'; give one, or rename a folder")
    feeds = [_Feed(run, names) for run in distinct]
    while waiting := [feed for feed in feeds if feed.goes_on]:
        for feed in waiting:
            feed.send(follow)
        if any(feed.goes_on for feed in waiting):
            time.sleep(POLL)
    return [outlet.result for feed in feeds for outlet in feed.outlets]


def tracking_error(results: Sequence[Tracked]) -> TrackerFailed | None:
    """The error that names what failed first, and how much more failed; None: nothing did."""
    failed = [result for result in results if result.error]
    if not failed:
        return None
    first = failed[0]
    others = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
    return TrackerFailed(f"tracker '{first.tracker}' failed for run '{first.run_id}': {first.error}{others}")


@dataclass
class _Outlet:
    """One tracker of one run; after its first error it gets nothing more."""

    run: Run
    name: str
    tracker: Tracker | None = None
    n_sent: int = 0
    last_step: int = -1
    error: str | None = None

    def send(self, points: Sequence[Point]) -> None:
        if self.error is not None:
            return
        try:
            if self.tracker is None:
                self.tracker = TRACKERS[self.name](TrackedRun.of(self.run))
                self.last_step = self.tracker.last_step
            new = [point for point in points if point.step > self.last_step]
            if new:
                self.tracker.log(new)
                self.n_sent += len(new)
                self.last_step = new[-1].step
        except Exception as error:
            self.error = reason_of(error)

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        if self.error is None and self.tracker is not None:
            try:
                self.tracker.finish(status, findings, report if self.takes_report else None)
            except Exception as error:
                self.error = reason_of(error)

    @property
    def takes_report(self) -> bool:
        return self.error is None and self.tracker is not None and self.tracker.takes_report

    @property
    def result(self) -> Tracked:
        place = self.tracker.place if self.tracker else ""
        return Tracked(self.run.id, self.name, place, self.last_step, self.n_sent, self.error)


@dataclass
class _Feed:
    """One run and its trackers."""

    run: Run
    names: Sequence[str]
    goes_on: bool = True
    outlets: list[_Outlet] = field(init=False)

    def __post_init__(self) -> None:
        self.outlets = [_Outlet(self.run, name) for name in self.names]
        try:
            self._reader = PointReader(self.run)
            self._training = self._which_training()
        except RankprobeError as error:
            self._fail(reason_of(error))

    def send(self, follow: bool) -> None:
        """Send what is new; at the end of the run, or without `follow`, close it."""
        try:
            status = self.run.status  # before the logs: at the end of a run, they are complete
            points = self._reader.new_points()
            if self._which_training() != self._training:
                raise RankprobeError("another process resumed it or started it over; track it again")
        except RankprobeError as error:
            self._fail(reason_of(error))
            return
        for outlet in self.outlets:
            outlet.send(points)
        if status == "running" and follow and any(outlet.error is None for outlet in self.outlets):
            return
        self.goes_on = False
        if any(outlet.error is None for outlet in self.outlets):
            self._finish(status)

    def _which_training(self) -> tuple[Any, int]:
        manifest = self.run.manifest
        return manifest.get("started"), len(manifest.get("resumed", []))

    def _fail(self, reason: str) -> None:
        self.goes_on = False
        for outlet in self.outlets:
            outlet.error = outlet.error or reason

    def _finish(self, status: str) -> None:
        """Close the run in each tracker, with findings and report if it has finished."""
        import rankprobe  # its names are loaded on first use: this room imports neither reports nor pages

        findings, report, problem = list[str](), None, None
        with tempfile.TemporaryDirectory() as folder:
            if status == "finished":
                try:
                    findings = rankprobe.findings([self.run])
                    if any(outlet.takes_report for outlet in self.outlets):
                        report = rankprobe.report(self.run, Path(folder) / "report.html")
                except Exception as error:
                    problem = f"it has all steps, but not the report ({reason_of(error)})"
            for outlet in self.outlets:
                outlet.finish(status, findings, report)
        if problem:
            self._fail(problem)
