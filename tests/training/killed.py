"""Run by test_resume: trains one run and kills itself with SIGKILL at a given instant.

python killed.py RUNS_DIR hook 3                      in the hook of step 3, before its row is written
python killed.py RUNS_DIR fsync 9                     at the 9th call of os.fsync, before it
python killed.py RUNS_DIR replace:manifest.json 2     at the 2nd os.replace of that file, before it
python killed.py RUNS_DIR replaced:manifest.json 2    at the 2nd os.replace of that file, after it
python killed.py RUNS_DIR never 0                     not at all: somebody else kills
python killed.py RUNS_DIR resume 0                    the same, and the run is continued
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from quick import quick

import rankprobe as rp

KILLED = {"steps": 40, "eval_every": 7, "checkpoint_every": 5, "spectrum_every": 4, "dropout": True}
LAST_KILL = 35
"""The last step at which somebody else kills."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killing(function, count, *, name=None, after=False):
    """`function`, and death at its `count`-th call (on the file `name`), before or after the call."""
    calls = 0

    def wrapped(*args):
        nonlocal calls
        calls += name is None or Path(args[-1]).name == name
        if calls == count and not after:
            die()
        result = function(*args)
        if calls == count:
            die()
        return result

    return wrapped


def main(runs_dir: str, instant: str, count: int) -> None:
    where, _, name = instant.partition(":")

    def hook(record):
        if where in ("never", "resume"):
            time.sleep(0.05 if record.step < LAST_KILL + 2 else 60)  # so that whoever kills can hit a step
        if where == "hook" and record.step == count:
            die()

    if where == "fsync":
        os.fsync = killing(os.fsync, count)
    if where in ("replace", "replaced"):
        os.replace = killing(os.replace, count, name=name, after=where == "replaced")
    if_exists = "resume" if where == "resume" else "error"
    rp.train(quick(**KILLED), runs_dir=runs_dir, name="run", if_exists=if_exists, hooks=[hook])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
