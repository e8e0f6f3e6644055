"""Run by test_concurrent_starts: many processes write the same plan and create runs at the same moment.

python starting.py RUNS_DIR PROCESSES

Each process writes the plan, creates a run of its own, and tries to create one that all of them want. Prints how
many created that one. Without torch, so that many can be started in a moment.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.runs import Plan, create_run, write_plan

ROUNDS = 5


def start(runs_dir: Path, own: int) -> int:
    """Returns in how many rounds this process created the run that all want."""
    won = 0
    for number in range(ROUNDS):
        write_plan(Plan("spec", "", "t", [], "rankprobe sweep spec.toml", ["a", "b"]), runs_dir)
        create_run(runs_dir / f"own-{own}-{number}", {"own": own})
        try:
            create_run(runs_dir / f"all-{number}", {"own": own})
            won += 1
        except RankprobeError as error:
            if "exists; continue it with --resume" not in str(error):
                raise
    return won


def main(runs_dir: Path, processes: int) -> None:
    ready, begin = os.pipe()
    children = []
    for own in range(processes):
        child = os.fork()
        if not child:
            os.close(begin)
            os.read(ready, 1)  # until the parent closes the other end
            code = 99
            try:
                code = start(runs_dir, own)
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        children.append(child)
    os.close(begin)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert max(codes) <= ROUNDS, codes
    sys.stdout.write(str(sum(codes)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
