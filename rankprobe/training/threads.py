"""Threads of numpy's BLAS while runs train, in one or several threads of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_LOCK = threading.Lock()
_HOLDERS: list[Any] = []
"""The limit, once for each context that holds it."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside this context numpy's BLAS has one thread: its idle threads spin, and slow torch threefold.

    The limit is one of the process. The last of the contexts that overlap lifts it.
    """
    with _LOCK:
        _HOLDERS.append(_HOLDERS[0] if _HOLDERS else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limit = _HOLDERS.pop()
            if not _HOLDERS:
                limit.restore_original_limits()
