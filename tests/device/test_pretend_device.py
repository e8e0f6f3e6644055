"""The path of a GPU, tested without one: see `pretend.py` for the device and `cases.py` for what is run on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

CASES = Path(__file__).with_name("cases.py")


def test_the_cases_on_the_pretend_device():
    """In a process of their own: the device cannot be taken back, and must be there before the first backward."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip(f"torch {torch.__version__} has no devices in Python")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=CASES.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
