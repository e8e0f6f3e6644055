"""Print lines that may contain names chosen by users; write numbers, and ranges of numbers, briefly."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from rankprobe.text import plain

QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
"""Whether progress is left out (`--quiet`); `main` sets it."""


class ProgressConsole(Console):
    """A console that prints no more when its reader has gone, as in `rankprobe probe | head`."""

    def on_broken_pipe(self) -> None:
        """Let the run go on; rich would end the process here."""
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


def progress_console(*, stderr: bool = False) -> Console:
    """Return the console for progress, which prints nothing with `--quiet`."""
    return ProgressConsole(stderr=stderr, quiet=QUIET.get())


def print_line(console: Console, text: object, style: str = "") -> None:
    """Print one line without markup, emoji codes, highlighting or wrapping; escape control characters."""
    console.print(Text(plain(text)), style=style, soft_wrap=True)


def number(value: Any) -> str:
    """A number as an integer if it is one, otherwise with one decimal; `-` if it is missing."""
    if value is None or pd.isna(value):
        return "-"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def number_range(values: Iterable[Any]) -> str:
    """The range of the readings of twins; missing values are those of twins that diverged.

    >>> number_range([45, 31, 40.5]), number_range([31]), number_range([45, None]), number_range([None])
    ('31–45', '31', '45, 1 diverged', 'diverged')
    """
    every = list(values)
    present = [value for value in every if not pd.isna(value)]
    if not present:
        return "diverged"
    low, high = number(min(present)), number(max(present))
    lost = len(every) - len(present)
    return (low if low == high else f"{low}–{high}") + (f", {lost} diverged" if lost else "")
