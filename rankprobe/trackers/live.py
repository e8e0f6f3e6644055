"""Reporting while training: a process per tracker that reads the run folders, so that training never waits.

The process is `rankprobe track RUNS --to TRACKER --follow`. It ends when its runs end, also if training is
killed: then the locks of the run folders are free.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rankprobe.errors import RunInterrupted
from rankprobe.text import plain
from rankprobe.trackers.registry import chosen_trackers

WAIT, WAIT_IF_STOPPED = 60.0, 5.0
"""Seconds for which trackers may finish after the end of training; the second, after a stop signal."""

GRACE, GRACE_IF_KILLED = 1.0, 10.0
"""Seconds for which a process may end after it was asked to, and after it was killed."""

# The modules of this process, as multiprocessing does it; below the priority of the training.
FOLLOWER = "import os, sys; os.nice(10); sys.path[:] = {path!r}; from rankprobe.cli import main; main()"


class Reporters:
    """Inside this context, the runs that are given to `start` are reported to trackers.

    What goes wrong is a warning of one line, at the next `check` or at the end, and training goes on. At the
    end, trackers have `WAIT` seconds to finish; then they are stopped. A tracker that had to be stopped gets
    no further runs.
    """

    def __init__(self, to: str | Sequence[str]) -> None:
        """
        Args:
            to: names of trackers, as a sequence or with commas; empty: none.

        Raises:
            RankprobeError: no such tracker, or its package is not installed.
        """
        self.names = chosen_trackers(to) if to else []
        self._running: list[_Reporter] = []

    def __enter__(self) -> Self:
        return self

    def start(self, paths: Sequence[Path]) -> None:
        """Report the runs in these folders, which exist and are locked by this process."""
        for name in self.names:
            try:
                self._running.append(_Reporter.of(name, paths))
            except OSError as error:
                _warn(f"reporting to {name} could not start ({error})", name, paths)

    def check(self) -> None:
        """Warn of each tracker that has failed since the last look.

        The thread of the training calls this: Python's warning filters belong to all threads, so a warning
        from another one is lost while this one ignores warnings for a moment, as torch does.
        """
        for reporter in [each for each in self._running if each.process.poll() is not None]:
            self._running.remove(reporter)
            reporter.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = kind is not None and issubclass(kind, RunInterrupted | KeyboardInterrupt)
        seconds = WAIT_IF_STOPPED if stopped else WAIT
        deadline = time.monotonic() + seconds
        try:
            for reporter in self._running:
                reporter.wait(max(0.0, deadline - time.monotonic()))
        finally:
            self.check()
            hanging, self._running = self._running, []
            for reporter in hanging:
                self.names.remove(reporter.name)
                reporter.stop(seconds)


@dataclass
class _Reporter:
    """The process of one tracker."""

    name: str
    paths: Sequence[Path]
    process: subprocess.Popen[bytes]
    printed: IO[bytes]

    @classmethod
    def of(cls, name: str, paths: Sequence[Path]) -> Self:
        """Start it.

        Raises:
            OSError: the system has no process or no temporary file for it.
        """
        words = ["track", *(str(path.resolve()) for path in paths), "--to", name, "--follow", "--quiet"]
        printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        process = subprocess.Popen(
            [sys.executable, "-c", FOLLOWER.format(path=sys.path), *words],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the training; this process ends after it
        )
        return cls(name, paths, process, printed)

    def wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def close(self) -> None:
        """Warn if the process, which has ended, failed."""
        if code := self.process.returncode:
            _warn(f"reporting to {self.name} failed ({self._last_words(code)})", self.name, self.paths)
        self.printed.close()

    def stop(self, seconds: float) -> None:
        """End the process and those that it started."""
        for force, grace in ((False, GRACE), (True, GRACE_IF_KILLED)):
            with suppress(ProcessLookupError):
                _end(self.process, force=force)
            self.wait(grace)
        self.printed.close()
        _warn(
            f"reporting to {self.name} was stopped {seconds:.0f} s after the end of training",
            self.name,
            self.paths,
        )

    def _last_words(self, code: int) -> str:
        """The error that the process printed, or its exit code."""
        self.printed.seek(0)
        lines = self.printed.read().decode(errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return plain(errors[-1]) if errors else f"exit code {code}"


def _warn(problem: str, name: str, paths: Sequence[Path]) -> None:
    command = shlex.join(["rankprobe", "track", *map(str, paths), "--to", name])
    warnings.warn(f"{problem}; the run folder has everything, send it with: {command}", stacklevel=3)


def _end(process: subprocess.Popen[bytes], *, force: bool) -> None:
    """End a process and those that it started; on Windows, the process alone."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
    elif force:
        process.kill()
    else:
        process.terminate()
