"""The errors a user may see. Each message says what was given, what was expected, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class RankprobeError(Exception):
    """The input is wrong, so the request cannot be carried out. The command line exits with 2."""

    exit_code = 2


class RunFailed(RankprobeError):
    """A run started and failed; its logs stay on disk. The command line exits with 1."""

    exit_code = 1


class ColumnTaken(RunFailed):
    """A hook returned a column whose name is already in use."""


class TrackerFailed(RankprobeError):
    """An experiment tracker did not take all of a run; the run folder has it. Exit code 1."""

    exit_code = 1


class RunInterrupted(RankprobeError):
    """A signal (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, …) stopped a run, after a checkpoint; exit code 130."""

    exit_code = 130


SECRET = re.compile(r"(?<=://)[^/\s@]+(?=@)|hf_[A-Za-z0-9]{30,}")
"""A login in a web address, or a hub token; clients and servers may repeat them in their error messages."""

MAX_LISTED = 40
"""The largest number of valid names that an error lists."""


def unknown(kind: str, name: str, known: Iterable[str]) -> RankprobeError:
    """Return an error for a name that is not in `known`; it suggests the nearest valid name first."""
    names = sorted(known)
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    listed = names if len(names) <= MAX_LISTED else [*names[:MAX_LISTED], "…"]
    return RankprobeError(f"unknown {kind} {name!r}{hint} (valid: {', '.join(listed)})")


def first_line(error: Exception) -> str:
    """Return the first line of an error message without its full stop; passwords and tokens become ***."""
    text = str(error).strip()
    return SECRET.sub("***", text.splitlines()[0].rstrip(".")) if text else type(error).__name__
