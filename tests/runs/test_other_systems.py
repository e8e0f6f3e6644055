"""Without POSIX (Windows) and without kernel locks: runs are read, drawn, reported and trained.

These tests hide what Windows lacks from rankprobe's own code; they do not run on Windows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from other_system import posix_names_used

import rankprobe

SCRIPT = Path(__file__).parent / "other_system.py"
ROOT = Path(__file__).parents[2]
GUARDED = ["runs/files.py: os.O_NOFOLLOW", "runs/files.py: os.O_NONBLOCK", "trackers/live.py: os.killpg"]
"""Only where there are kernel locks, and process groups."""


def on_another_system(folder, what):
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", str(SCRIPT), str(folder), what],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def kept_runs(tmp_path):
    """Some probes of the gallery, whose logs are kept in the repository."""
    with tarfile.open(ROOT / "figures" / "gallery.tar.xz") as archive:
        probes = [member for member in archive if member.name.startswith("gallery/cb-probe-tiny-s3")]
        archive.extractall(tmp_path, probes, filter="data")
    (tmp_path / "gallery").rename(tmp_path / "runs")
    return tmp_path


def test_readers_work_without_posix(kept_runs):
    found = on_another_system(kept_runs, "read")
    assert found["n_rows"] > 100
    assert {"figures", "readings.csv", "report.html", "table.csv"} <= {*found["written"]}


def test_training_works_without_kernel_locks(tmp_path):
    found = on_another_system(tmp_path, "write")
    assert found["stopped"].startswith("stopped after step 2; continue with: rankprobe resume")
    assert found["status"] == ["finished", "finished"]
    assert found["left"] == []
    assert found["refused"]
    assert all(f"is being written by process {found['pid']} on host" in text for text in found["refused"])


def test_no_name_that_windows_lacks_is_used():
    assert posix_names_used(Path(rankprobe.__file__).parent) == GUARDED
