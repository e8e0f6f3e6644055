"""The logger `rankprobe`: what was read, loaded and decided. It prints nothing unless someone asks for it.

`--verbose` shows it on the command line; in Python, `logging.getLogger("rankprobe")` is the one to configure.
"""

from __future__ import annotations

import logging

log = logging.getLogger("rankprobe")
log.addHandler(logging.NullHandler())
