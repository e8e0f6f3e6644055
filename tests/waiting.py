"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SECONDS = 60.0
"""More than enough for what takes a second or two on a machine with other work."""


def wait_until(condition: Callable[[], T], seconds: float = SECONDS) -> T:
    """Wait until `condition()` is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)
    return found
