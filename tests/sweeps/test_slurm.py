"""The sbatch script of docs/sweeps.md: it stops on SIGUSR1, queues itself again, and finishes on the next start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK

from rankprobe.runs import list_runs

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()

RANKPROBE = f"""#!/bin/bash
exec {sys.executable} -m rankprobe "$@"
"""
SCONTROL = """#!/bin/bash
echo "$@" >> queued
"""
SRUN_WITH_SIGNAL = """#!/bin/bash
"$@" &
for _ in $(seq 1200); do
    if [ -s runs/*/steps.jsonl ]; then break; fi
    sleep 0.1
done
kill -USR1 $!
wait $!
"""


@pytest.fixture
def submit(tmp_path):
    """A function that runs the script as task 1 of an array in `tmp_path`, with this srun; returns the exit code."""
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "job.sh").write_text(script)
    (tmp_path / "bin").mkdir()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1"}

    def run(srun):
        for name, code in {"rankprobe": RANKPROBE, "scontrol": SCONTROL, "srun": srun}.items():
            (tmp_path / "bin" / name).write_text(code)
            (tmp_path / "bin" / name).chmod(0o755)
        done = subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=os.environ | variables, timeout=300)
        return done.returncode

    return run


def test_a_signal_queues_the_task_again_and_the_next_start_finishes(submit, tmp_path):
    settings = {**QUICK, "steps": 400, "eval_every": 400, "checkpoint_every": 400}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "one.toml").write_text(
        "\n".join(["title = 't'", "[settings]", *lines, "[scale.paper]", "seed = 1"])
    )
    assert submit(SRUN_WITH_SIGNAL) == 130
    assert (tmp_path / "queued").read_text() == "requeue 77_1\n"
    (run,) = list_runs(tmp_path / "runs")
    assert run.status == "interrupted"
    assert submit('#!/bin/bash\nexec "$@"\n') == 0
    assert run.status == "finished"
    assert (tmp_path / "queued").read_text() == "requeue 77_1\n"


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, False), (2, False), (130, True), (138, True)])
def test_only_a_stopped_task_is_queued_again(submit, tmp_path, code, again):
    assert submit(f"#!/bin/bash\nexit {code}\n") == code
    assert (tmp_path / "queued").exists() == again


def test_a_signal_before_python_has_started_is_told_apart(submit, tmp_path):
    assert submit("#!/bin/bash\nsleep 60 &\nkill -USR1 $!\nwait $!\n") == 138
    assert (tmp_path / "queued").read_text() == "requeue 77_1\n"
