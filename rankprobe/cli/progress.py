"""What a person sees while a run goes on: a live line on a terminal, else a line per evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from rankprobe.cli.lines import print_line
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.training.recorder import StepRecord


LINES = 20


class Watch:
    """A hook that shows step, loss, dev score, majority rate, and positive entries with the twin's."""

    def __init__(self, console: Console, *, several: bool, start: str = "") -> None:
        """`several` runs are named in their lines, one is not; `start` is printed before the first line."""
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
        self.said: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self.live.stop()

    def __call__(self, record: StepRecord) -> None:
        """Show a step; a terminal that was closed, or a full disk behind it, does not end the run."""
        with suppress(OSError):
            self._show(record)

    def _show(self, record: StepRecord) -> None:
        if self.start:
            print_line(self.console, self._printable(self.start))
            self.start = ""
        if record.evals:
            self.dev[record.run_id] = _dev(record.evals)
        parts = (_loss(record.row), self.dev.get(record.run_id, ""), _signs(record.row))
        facts = self._printable("  ".join(part for part in parts if part))
        if record.run_id not in self.tasks:
            name = self._printable(plain(record.run_id)) if self.several else ""
            self.tasks[record.run_id] = self.live.add_task(name, total=record.total_steps, facts="")
        self.live.update(self.tasks[record.run_id], completed=record.step, facts=facts)
        if record.evals and not self.console.is_terminal and self._line_due(record):
            self.said[record.run_id] = record.step
            name = self._printable(plain(record.run_id))
            print_line(self.console, f"{name}  step {record.step}/{record.total_steps}  {facts}")

    def _printable(self, text: str) -> str:
        """The text with ? for what the console's encoding does not have."""
        return text.encode(self.console.encoding, "replace").decode(self.console.encoding)

    def _line_due(self, record: StepRecord) -> bool:
        """About `LINES` plain lines a run, whatever its length: always the first and the last."""
        ended = record.step == record.total_steps
        last = self.said.get(record.run_id)
        return ended or last is None or record.step - last >= record.total_steps / LINES


def _dev(evals: Sequence[Mapping[str, Any]]) -> str:
    """The score to report: of all dev rows, or of the held-back half."""
    metric = evals[0]["metric"]
    held_back = [row for row in evals if row["split"] == "report" and row["metric"] == metric]
    row, rows = (held_back[0], "held-back half of dev") if held_back else (evals[0], "dev")
    return f"{rows} {row['value']:.1f} (majority {row['majority']:.1f})"


def _loss(row: Mapping[str, Any]) -> str:
    return f"loss {row['loss']:.3f}" if "loss" in row else ""


def _signs(row: Mapping[str, Any]) -> str:
    if "n_positive" not in row:
        return ""
    if "twin_n_positive" not in row:
        return f"σ>0 {row['n_positive']}"
    twin = row["twin_n_positive"]
    return f"σ>0 {row['n_positive']} (twin {'diverged' if twin is None else twin})"
