"""A short kill campaign; `make faults` runs the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_sweep_that_is_killed_repeatedly_loses_and_repeats_nothing():
    script = Path(__file__).parent / "kills.py"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "10"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 losses" in done.stdout
    assert "\n0 heartbeats" not in done.stdout
