"""Stop a run cleanly: Ctrl-C or a cluster's signal ends it after the current step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

USER_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The second of these signals ends the process as usual."""

CLUSTER_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)  # Windows has none of them
)
"""SIGHUP comes when an ssh connection closes; SLURM, Grid Engine and others send the rest before a kill.

They are handled only if they would end the process: after nohup, or in a program with its own handlers, they
keep their effect. They often come more than once (a shell and the terminal both report a closed ssh
connection), or before a SIGTERM. So only a second Ctrl-C or SIGTERM ends the process.
"""

Handler = Callable[[int, FrameType | None], Any]


class StopRequest:
    """Inside this context, a stop signal sets `requested`; a second SIGINT or SIGTERM acts as usual.

    It does nothing outside the main thread, where Python cannot set signal handlers.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._previous = _set_handlers(self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _restore(self._previous)
        if kind is None and self.requested and raise_interrupt in self._previous.values():
            raise KeyboardInterrupt  # this work was already finished, but the sweep around it must stop

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number in USER_SIGNALS:
            _restore({number: self._previous[number] for number in USER_SIGNALS})


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a stop signal as Python handles Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Inside this context, every stop signal raises KeyboardInterrupt, except inside a `StopRequest`."""
    previous = _set_handlers(raise_interrupt)
    try:
        yield
    finally:
        _restore(previous)


def _set_handlers(handler: Handler) -> dict[int, Any]:
    """Set the handler of all stop signals, and return the previous handlers."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    replaceable = (signal.SIG_DFL, raise_interrupt)
    from_cluster = [number for number in CLUSTER_SIGNALS if signal.getsignal(number) in replaceable]
    return {number: signal.signal(number, handler) for number in (*USER_SIGNALS, *from_cluster)}


def _restore(previous: dict[int, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
