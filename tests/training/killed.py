"""Run by test_resume: trains one run and kills itself with SIGKILL at a given instant.

python killed.py RUNS_DIR hook 3        in the hook of step 3, before its row is written
python killed.py RUNS_DIR fsync 9       at the 9th call of os.fsync, before it
python killed.py RUNS_DIR replace 4     at the 4th os.replace, before it
python killed.py RUNS_DIR replaced 4    at the 4th os.replace, after it
python killed.py RUNS_DIR never 0       not at all: somebody else kills
python killed.py RUNS_DIR resume 0      the same, and the run is continued
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from conftest import quick

import rankprobe as rp

KILLED = {"steps": 40, "eval_every": 7, "checkpoint_every": 5, "spectrum_every": 4, "dropout": True}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(function, count, *, after):
    calls = 0

    def wrapped(*args):
        nonlocal calls
        calls += 1
        if calls == count and not after:
            die()
        result = function(*args)
        if calls == count:
            die()
        return result

    return wrapped


def main(runs_dir: str, where: str, count: int) -> None:
    def hook(record):
        if where == "hook" and record.step == count:
            die()

    if_exists = "resume" if where == "resume" else "error"
    if where == "fsync":
        os.fsync = at_call(os.fsync, count, after=False)
    if where in ("replace", "replaced"):
        os.replace = at_call(os.replace, count, after=where == "replaced")
    rp.train(quick(**KILLED), runs_dir=runs_dir, name="run", if_exists=if_exists, hooks=[hook])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
