"""Training rows in two parts: `python -m experiments.real.held_out SUPERGLUE FOLDER`.

One part is to train on, the other to score. Settings that are chosen with them have not seen dev. FOLDER can
be given as `--data`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

TASKS = ("CB", "RTE", "WiC", "BoolQ", "COPA")
SHARE, MOST = 0.2, 500
"""Rows to score: a fifth, at most 500."""


def split(source: Path, target: Path) -> None:
    for task in TASKS:
        rows = (source / task / "train.jsonl").read_text().splitlines(keepends=True)
        random.Random(0).shuffle(rows)
        count = min(int(SHARE * len(rows)), MOST)
        (target / task).mkdir(parents=True, exist_ok=True)
        for name, part in (("val", rows[:count]), ("train", rows[count:])):
            (target / task / f"{name}.jsonl").write_text("".join(part))
        print(f"{task}: {len(rows) - count} rows to train, {count} to score")


if __name__ == "__main__":
    split(Path(sys.argv[1]), Path(sys.argv[2]))
