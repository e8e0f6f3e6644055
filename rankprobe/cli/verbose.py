"""Show the logger `rankprobe` on standard error (`--verbose`); loggers of other packages stay as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rankprobe.logger import log
from rankprobe.text import plain


class PlainFormatter(logging.Formatter):
    """Escapes control characters: lines contain names of files and runs."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


@contextmanager
def log_to_stderr(count: int) -> Iterator[None]:
    """Inside this context, print log lines.

    Args:
        count: how often `--verbose` was given. 0: nothing is printed; 1: INFO; 2 or more: DEBUG too.
    """
    if not count:
        yield
        return
    handler, level = logging.StreamHandler(), log.level
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO if count == 1 else logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
