"""Words that the shell completes: run ids, tasks, methods, figures, tables, trackers, choices of settings.

Where no word fits, shells complete the names of files. `rankprobe --install-completion` turns it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Completer = Callable[..., list[str]]
"""Returns the words to offer. Its parameters are `incomplete`, the beginning of a word, and perhaps `ctx`,
the context of typer, which passes them by these names."""


def starting(words: Iterable[str], beginning: str) -> list[str]:
    """Return the words that start with `beginning`, in order.

    >>> starting(["rte", "record", "cb"], "r")
    ['record', 'rte']
    """
    return sorted(word for word in words if word.startswith(beginning))


def run_ids(ctx: Any, incomplete: str) -> list[str]:
    """The ids of the runs in the folder of `--runs-dir`, as far as it has been typed."""
    from rankprobe.runs import MANIFEST

    folder = Path(ctx.params.get("runs_dir") or "runs")
    return starting((path.parent.name for path in folder.glob(f"*/{MANIFEST}")), incomplete)


def task_names(incomplete: str) -> list[str]:
    from rankprobe.tasks import TASKS

    return starting(TASKS, incomplete)


def method_names(incomplete: str) -> list[str]:
    from rankprobe.prompts import METHODS

    return starting(METHODS, incomplete)


def figure_names(incomplete: str) -> list[str]:
    from rankprobe.plots import ALIASES, FIGURES

    return starting([*FIGURES, *ALIASES], incomplete)


def table_names(incomplete: str) -> list[str]:
    from rankprobe.reports import TABLES

    return starting(TABLES, incomplete)


def tracker_names(incomplete: str) -> list[str]:
    """The names of trackers; those after a comma too."""
    from rankprobe.trackers import TRACKERS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in starting(TRACKERS, last)]


def one_of(choices: Sequence[str]) -> Completer:
    """Return a completer that offers `choices`."""
    return lambda incomplete: starting(choices, incomplete)
