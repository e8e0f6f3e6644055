"""What a person sees while a run goes on: a live line on a terminal, else a line per evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

if TYPE_CHECKING:
    from rankprobe.training.recorder import StepRecord


LINES = 20


class Watch:
    """A hook that shows step, loss, dev score, majority rate, and positive entries with the twin's."""

    def __init__(self, console: Console, *, several: bool) -> None:
        """`several` runs are named beside their lines; one needs no name."""
        self.console = console
        self.several = several
        line = "step {task.completed:.0f}/{task.total:.0f}  {task.fields[facts]}"
        self.live = Progress(
            TextColumn(line, table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.description}", table_column=Column(overflow="crop", max_width=40)),
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
        if record.evals:
            first = record.evals[0]
            self.dev[record.run_id] = f"dev {first['value']:.1f} (majority {first['majority']:.1f})"
        parts = (_loss(record.row), self.dev.get(record.run_id, ""), _signs(record.row))
        facts = self._printable("  ".join(part for part in parts if part))
        if record.run_id not in self.tasks:
            name = self._printable(record.run_id) if self.several else ""
            self.tasks[record.run_id] = self.live.add_task(name, total=record.total_steps, facts="")
        self.live.update(self.tasks[record.run_id], completed=record.step, facts=facts)
        if record.evals and not self.console.is_terminal and self._line_due(record):
            self.said[record.run_id] = record.step
            self.console.print(
                f"{self._printable(record.run_id)}  step {record.step}/{record.total_steps}  {facts}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def _printable(self, text: str) -> str:
        """The text with ? for what the console's encoding does not have."""
        return text.encode(self.console.encoding, "replace").decode(self.console.encoding)

    def _line_due(self, record: StepRecord) -> bool:
        """About `LINES` plain lines a run, whatever its length: always the first and the last."""
        ended = record.step == record.total_steps
        last = self.said.get(record.run_id)
        return ended or last is None or record.step - last >= record.total_steps / LINES


def _loss(row: Mapping[str, Any]) -> str:
    return f"loss {row['loss']:.3f}" if "loss" in row else ""


def _signs(row: Mapping[str, Any]) -> str:
    if "n_positive" not in row:
        return ""
    twin = f" (twin {row['twin_n_positive']})" if "twin_n_positive" in row else ""
    return f"σ>0 {row['n_positive']}{twin}"
