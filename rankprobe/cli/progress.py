"""The progress of runs: a live line on a terminal, otherwise one line per evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from rankprobe.cli.lines import number_range, print_line
from rankprobe.errors import RunInterrupted
from rankprobe.interrupt import interrupt_on_signals
from rankprobe.text import plain
from rankprobe.twins import twins_of

if TYPE_CHECKING:
    from rankprobe.runs.step_record import StepRecord

LINES_PER_RUN = 20


@contextmanager
def continued_by_the_command() -> Iterator[None]:
    """Inside this context, which trains many runs, a stop signal says that the same command continues."""
    with interrupt_on_signals():
        try:
            yield
        except (RunInterrupted, KeyboardInterrupt):
            raise RunInterrupted("stopped; give the same command again to continue") from None


class RunProgress:
    """A training hook that shows step, loss, dev score with its baseline, and positive entries of σ.

    The positive entries are followed by those of the noise twin, or by the range of several.
    """

    def __init__(self, console: Console, *, several: bool, start: str = "") -> None:
        """Create the display.

        Args:
            console: where to print.
            several: whether several runs train at once; if so, the live lines contain the run id.
            start: a line to print before the first step.
        """
        self.console = console
        self.start = start
        self.several = several
        line = "step {task.completed:.0f}/{task.total:.0f}  {task.fields[facts]}"
        self.live = Progress(
            TextColumn(line, markup=False, table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn(
                "{task.description}", markup=False, table_column=Column(overflow="crop", max_width=40)
            ),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.dev: dict[str, str] = {}
        self.last_printed: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.live.stop()

    def __call__(self, record: StepRecord) -> None:
        """Show a step. The run continues if the output fails (a closed terminal, a full disk)."""
        with suppress(OSError):
            self._show(record)

    def _show(self, record: StepRecord) -> None:
        if self.start:
            print_line(self.console, self._printable(self.start))
            self.start = ""
        if record.evals:
            self.dev[record.run_id] = _dev(record.evals)
        parts = (_loss(record.row), self.dev.get(record.run_id, ""), _positive(record.row))
        facts = self._printable("  ".join(part for part in parts if part))
        if record.run_id not in self.tasks:
            name = self._printable(plain(record.run_id)) if self.several else ""
            self.tasks[record.run_id] = self.live.add_task(name, total=record.total_steps, facts="")
        self.live.update(self.tasks[record.run_id], completed=record.step, facts=facts)
        if record.evals and not self.console.is_terminal and self._is_line_due(record):
            self.last_printed[record.run_id] = record.step
            name = self._printable(plain(record.run_id))
            print_line(self.console, f"{name}  step {record.step}/{record.total_steps}  {facts}")

    def _printable(self, text: str) -> str:
        """Replace characters that the console's encoding does not have by ?."""
        return text.encode(self.console.encoding, "replace").decode(self.console.encoding)

    def _is_line_due(self, record: StepRecord) -> bool:
        """Return whether to print a line: the first, the last, and about `LINES_PER_RUN` in all."""
        ended = record.step == record.total_steps
        last = self.last_printed.get(record.run_id)
        return ended or last is None or record.step - last >= record.total_steps / LINES_PER_RUN


def _dev(evals: Sequence[Mapping[str, Any]]) -> str:
    """Return the score to report, on all dev rows or on the held-back half, with its baseline."""
    metric = evals[0]["metric"]
    held_back = [row for row in evals if row["split"] == "report" and row["metric"] == metric]
    row, rows = (held_back[0], "held-back half of dev") if held_back else (evals[0], "dev")
    return f"{rows} {row['value']:.1f} (baseline {row['baseline']:.1f})"


def _loss(row: Mapping[str, Any]) -> str:
    return f"loss {row['loss']:.3f}" if "loss" in row else ""


def _positive(row: Mapping[str, Any]) -> str:
    if "n_positive" not in row:
        return ""
    twins = [row[column] for column in twins_of(row, "n_positive").values()]
    if not twins:
        return f"σ>0 {row['n_positive']}"
    return f"σ>0 {row['n_positive']} ({'twins' if len(twins) > 1 else 'twin'} {number_range(twins)})"
