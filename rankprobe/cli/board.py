"""What a person sees of a sweep: a table that follows the run folders, else a line per cohort."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from rankprobe.sweeps import Cohort
    from rankprobe.training.config import RunConfig

STATES = ("finished", "running", "stopped", "failed", "waiting")
TEXT = 60
"""Tokens of a text, about: with the prompt's they make the cost of a step."""


class Board:
    """Follows runs by their folders, so it sees what other processes and machines do as well."""

    def __init__(
        self,
        console: Console,
        experiments: Mapping[str, Sequence[RunConfig]],
        cohorts: Sequence[Cohort],
        runs_dir: Path,
    ) -> None:
        self.console, self.runs_dir, self.cohorts = console, runs_dir, len(cohorts)
        from rankprobe.training.folders import run_folder

        mine = {run_folder(config, runs_dir).name: config for cohort in cohorts for config in cohort}
        self.costs = {run_id: _cost(config) for run_id, config in mine.items()}
        self.experiments = {
            name: [run_id for config in configs if (run_id := run_folder(config, runs_dir).name) in mine]
            for name, configs in experiments.items()
        }
        self.ended: dict[str, str] = {}
        self.cohorts_done = 0
        self.began, self.done_before = time.monotonic(), self._done()
        self.live = Live(
            get_renderable=self.table,
            console=console,
            refresh_per_second=0.5,
            auto_refresh=console.is_terminal,
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def cohort_done(self, cohort: Cohort, problems: Mapping[str, str]) -> None:
        """Count a cohort, and say so where there is no live table."""
        self.cohorts_done += 1
        if not self.console.is_terminal:
            counts = Counter(self._state(run_id)[0] for run_id in self.costs)
            failed = f", {counts['failed']} failed" if counts["failed"] else ""
            self.console.print(
                f"cohort {self.cohorts_done}/{self.cohorts} ({describe(cohort)}): "
                f"{counts['finished']}/{len(self.costs)} runs finished{failed}, {self._left()}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def table(self) -> Group:
        """The table as it stands now."""
        table = Table("experiment", box=None, header_style="bold", pad_edge=False)
        for title in ("runs", *STATES):
            table.add_column(title, justify="right")
        for name, ids in self.experiments.items():
            counts = Counter(self._state(run_id)[0] for run_id in ids)
            table.add_row(name, str(len(ids)), *(str(counts[state]) for state in STATES))
        running = [run_id for run_id in self.costs if self._state(run_id)[0] == "running"]
        now = (
            f"{len(running)} runs in training, {self._state(running[0])[1]:.0%} through; " if running else ""
        )
        return Group(table, f"{now}{_clock(time.monotonic() - self.began)} gone, {self._left()}")

    def _left(self) -> str:
        done, total = self._done(), sum(self.costs.values())
        if done >= total:
            return "nothing left"
        rate = (done - self.done_before) / (time.monotonic() - self.began)
        return f"about {_clock((total - done) / rate)} left" if rate > 0 else "time left unknown yet"

    def _done(self) -> float:
        return sum(cost * self._state(run_id)[1] for run_id, cost in self.costs.items())

    def _state(self, run_id: str) -> tuple[str, float]:
        """The state of a run, and the share of its steps that is done."""
        from rankprobe.errors import RankprobeError
        from rankprobe.runs import Run

        if run_id in self.ended:
            return self.ended[run_id], 1.0
        run = Run(self.runs_dir / run_id)
        if not run.path.exists():
            return "waiting", 0.0
        try:
            status, progress, row = run.status, run.manifest["progress"], run.readings()
        except RankprobeError:
            return "failed", 0.0
        if status == "finished":
            self.ended[run_id] = status
            return status, 1.0
        state = status if status in STATES else "stopped"
        return state, row.get("step", progress["step"]) / progress["total_steps"]


def describe(cohort: Cohort) -> str:
    """A cohort in a few words."""
    first = cohort[0]
    methods = ", ".join(dict.fromkeys(config.method.name for config in cohort))
    count = "1 run" if len(cohort) == 1 else f"{len(cohort)} runs"
    return f"{Path(first.task.name).stem}, {methods}, {count}"


def _cost(config: RunConfig) -> float:
    """Tokens that a run passes through its backbone, roughly; a run by epochs is taken for 1,000 rows."""
    training = config.training
    steps = training.steps or training.epochs * -(-(config.task.shots or 1000) // training.batch_size)
    return steps * min(training.batch_size, config.task.shots or 1000) * (config.method.prompt_length + TEXT)


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
