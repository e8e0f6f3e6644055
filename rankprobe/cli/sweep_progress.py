"""The progress of a sweep: a live table on a terminal, otherwise one line per cohort."""

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
from rich.text import Text

from rankprobe.cli.lines import print_line
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.config.run import RunConfig
    from rankprobe.sweeps import Cohort

STATES = ("finished", "running", "stopped", "failed", "waiting")
TEXT_TOKENS = 60
"""Typical number of tokens of a text; the cost of a row is this plus the prompt length."""


class SweepProgress:
    """Shows the state of runs. It is read from their folders, so it includes the work of other processes."""

    def __init__(
        self,
        console: Console,
        experiments: Mapping[str, Sequence[RunConfig]],
        cohorts: Sequence[Cohort],
        runs_dir: Path,
    ) -> None:
        from rankprobe.config.folders import run_folder

        self.console, self.runs_dir, self.n_cohorts = console, runs_dir, len(cohorts)
        runs = {run_folder(config, runs_dir).name: config for cohort in cohorts for config in cohort}
        self.costs = {run_id: _cost(config) for run_id, config in runs.items()}
        self.experiments = {
            name: [run_id for config in configs if (run_id := run_folder(config, runs_dir).name) in runs]
            for name, configs in experiments.items()
        }
        self.finished: set[str] = set()
        self.cohorts_done = 0
        self.start, self.cost_at_start = time.monotonic(), self._cost_done()
        self.live = Live(
            get_renderable=self.table,
            console=console,
            refresh_per_second=0.5,
            auto_refresh=console.is_terminal,
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        elif self.n_cohorts:
            n_finished = sum(self._state(run_id)[0] == "finished" for run_id in self.costs)
            runs, cohorts = _count(len(self.costs), "run"), _count(self.n_cohorts, "cohort")
            print_line(
                self.console, f"{runs} in {cohorts}, {n_finished} finished; a line follows each cohort"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def cohort_done(self, cohort: Cohort, problems: Mapping[str, str]) -> None:
        """Count a finished cohort; print a line if there is no live table."""
        self.cohorts_done += 1
        if not self.console.is_terminal:
            counts = Counter(self._state(run_id)[0] for run_id in self.costs)
            failed = f", {counts['failed']} failed" if counts["failed"] else ""
            print_line(
                self.console,
                f"cohort {self.cohorts_done}/{self.n_cohorts} ({describe(cohort)}): "
                f"{counts['finished']}/{len(self.costs)} runs finished{failed}, {self._time_left()}",
            )

    def table(self) -> Group:
        """Return the current table, with a line about time below it."""
        table = Table("experiment", box=None, header_style="bold", pad_edge=False)
        for title in ("runs", *STATES):
            table.add_column(title, justify="right")
        for name, ids in self.experiments.items():
            counts = Counter(self._state(run_id)[0] for run_id in ids)
            table.add_row(Text(plain(name)), str(len(ids)), *(str(counts[state]) for state in STATES))
        running = [run_id for run_id in self.costs if self._state(run_id)[0] == "running"]
        now = f"{len(running)} runs training, {self._state(running[0])[1]:.0%} done; " if running else ""
        return Group(table, f"{now}{_duration(time.monotonic() - self.start)} elapsed, {self._time_left()}")

    def _time_left(self) -> str:
        done, total = self._cost_done(), sum(self.costs.values())
        if done >= total:
            return "nothing left"
        rate = (done - self.cost_at_start) / (time.monotonic() - self.start)
        return f"about {_duration((total - done) / rate)} left" if rate > 0 else "time left not known yet"

    def _cost_done(self) -> float:
        return sum(cost * self._state(run_id)[1] for run_id, cost in self.costs.items())

    def _state(self, run_id: str) -> tuple[str, float]:
        """Return the state of a run, and the share of its steps that are done."""
        from rankprobe.errors import RankprobeError
        from rankprobe.runs import Run

        if run_id in self.finished:
            return "finished", 1.0
        run = Run(self.runs_dir / run_id)
        if not run.path.exists():
            return "waiting", 0.0
        try:
            status, progress, row = run.status, run.manifest["progress"], run.readings()
        except RankprobeError:
            return "failed", 0.0
        if status == "finished":
            self.finished.add(run_id)
            return status, 1.0
        state = status if status in STATES else "stopped"
        return state, row.get("step", progress["step"]) / progress["total_steps"]


def describe(cohort: Cohort) -> str:
    """Describe a cohort in a few words: task, methods, number of runs."""
    first = cohort[0]
    methods = ", ".join(dict.fromkeys(config.method.name for config in cohort))
    return f"{Path(first.task).stem}, {methods}, {_count(len(cohort), 'run')}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _cost(config: RunConfig) -> float:
    """Estimate the tokens that a run passes through its backbone; assume 1,000 rows if --shots is unset."""
    steps = config.steps or config.epochs * -(-(config.shots or 1000) // config.batch_size)
    return steps * min(config.batch_size, config.shots or 1000) * (config.method.prompt_length + TEXT_TOKENS)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
