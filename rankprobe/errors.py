"""The errors a user may meet. Each message says what came, what was expected, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RankprobeError(Exception):
    """Bad input: the request cannot be carried out as it stands. The command line exits with 2."""

    exit_code = 2


class RunFailed(RankprobeError):
    """A run started and could not go on; its logs stay on disk. The command line exits with 1."""

    exit_code = 1


class RunInterrupted(RankprobeError):
    """A run stopped on request (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, …) after a checkpoint; exit code 130."""

    exit_code = 130


SHOWN = 40
"""How many valid names an error lists at most."""


def unknown(kind: str, name: str, known: Iterable[str]) -> RankprobeError:
    """An error for a name outside a known set, with the nearest valid name first."""
    names = sorted(known)
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    shown = names if len(names) <= SHOWN else [*names[:SHOWN], "…"]
    return RankprobeError(f"unknown {kind} {name!r}{hint} (valid: {', '.join(shown)})")
