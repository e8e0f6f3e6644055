"""On a system without flock (Windows) runs are read, and writing is refused with a clear message."""

from __future__ import annotations

import json
import subprocess
import sys

from test_runs import make_run, write_log

SCRIPT = """
import json, sys
sys.modules["fcntl"] = None
from pathlib import Path
from rankprobe.errors import RankprobeError
from rankprobe.runs import create_run, load_runs
from rankprobe.runs.files import write_atomically
from rankprobe.runs.lock import writing

runs_dir = Path(sys.argv[1])
frames, errors = load_runs(runs_dir), []

def write_in_context():
    with writing(runs_dir / "a"):
        pass

for write in (write_in_context, lambda: create_run(runs_dir / "c", {}), lambda: write_atomically(runs_dir / "d", b"")):
    try:
        write()
    except RankprobeError as error:
        errors.append(str(error))
found = {"status": frames.runs["status"].tolist(), "loss": frames.steps["loss"].tolist(), "errors": errors}
sys.stdout.write(json.dumps(found))
"""


def test_runs_are_read_and_nothing_is_written(tmp_path):
    for name, status in (("a", "finished"), ("b", "running")):
        write_log(make_run(tmp_path, name, status=status), "steps", [{"step": 0, "loss": 0.5}])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["status"], found["loss"]) == (["finished", "killed"], [0.5, 0.5])
    assert len(found["errors"]) == 3
    assert all("this system has no flock" in error for error in found["errors"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
