"""Limit numpy's BLAS to one thread while runs train, also when several threads of a process train runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_LOCK = threading.Lock()
_ACTIVE: list[Any] = []
"""The limit, once for each context that is open."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside this context numpy's BLAS has one thread. Its idle threads would spin and slow torch threefold.

    The limit holds for the whole process. Contexts may overlap; the last one that closes lifts the limit.
    """
    with _LOCK:
        _ACTIVE.append(_ACTIVE[0] if _ACTIVE else threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limit = _ACTIVE.pop()
            if not _ACTIVE:
                limit.restore_original_limits()
