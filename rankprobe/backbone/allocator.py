"""Keeps freed memory between steps instead of returning it to the system."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

# The parameters of mallopt(3), and their environment variables.
PARAMETERS = {
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 2**28),
    "MALLOC_MMAP_THRESHOLD_": (-3, 2**30),
}


@cache
def keep_memory() -> None:
    """Let glibc reuse freed memory of any size.

    By default glibc returns blocks over 32 MB at once and requests new ones, which the system fills with
    zeros page by page: up to a third of a training step. Parameters that the user has set in the environment
    are kept. On other systems nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for variable, (parameter, value) in PARAMETERS.items():
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, value)
