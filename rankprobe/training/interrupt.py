"""Stopping in good order: Ctrl-C or a signal of a cluster ends a run after its step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

ASKED_TWICE = (signal.SIGINT, signal.SIGTERM)
"""The second one ends the process as usual."""

FROM_CLUSTERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""A closed ssh, and what SLURM, Grid Engine and others send some time before they kill.

They are taken only where they would end the process: after nohup, or in a program with a handler of its own,
they do what they did. They often come more than once (a shell and the terminal both report a closed ssh), or
before a SIGTERM, so only Ctrl-C and SIGTERM can ask twice.
"""

Handler = Callable[[int, FrameType | None], Any]


class StopRequest:
    """Inside this context, a stop signal sets `requested`; a second SIGINT or SIGTERM acts as usual.

    Outside the main thread, where handlers cannot be set, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._previous = _handle(self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _restore(self._previous)
        if kind is None and self.requested and stop_now in self._previous.values():
            raise KeyboardInterrupt  # the work was at its end, but a sweep has more

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number in ASKED_TWICE:
            _restore({each: self._previous[each] for each in ASKED_TWICE})


def stop_now(number: int, frame: FrameType | None) -> None:
    """Handle a stop signal as Python handles Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def stopping_now() -> Iterator[None]:
    """Inside this context, each stop signal raises KeyboardInterrupt, but where a `StopRequest` takes it."""
    previous = _handle(stop_now)
    try:
        yield
    finally:
        _restore(previous)


def _handle(handler: Handler) -> dict[int, Any]:
    """Set the handler of the stop signals; returns those that were set before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    ours = [each for each in FROM_CLUSTERS if signal.getsignal(each) in (signal.SIG_DFL, stop_now)]
    return {number: signal.signal(number, handler) for number in (*ASKED_TWICE, *ours)}


def _restore(previous: dict[int, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
