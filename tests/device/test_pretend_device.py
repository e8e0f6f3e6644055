"""The path of a GPU, tested without one: see `pretend.py` for the device and `cases.py` for what is run on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("cases.py")


def test_the_cases_on_the_pretend_device():
    """In a process of their own: the device cannot be taken back, and must be there before the first backward."""
    pytest.importorskip("torch.utils.backend_registration")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
