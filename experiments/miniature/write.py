"""Writes the bundled rows, the same bytes each time: `python -m experiments.miniature.write`.

`python -m experiments.miniature.write FOLDER 2000` writes tasks with 2,000 validation rows each, which
`--data FOLDER` reads. The rows of `train` are the bundled ones; those of `val` begin with the bundled ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from experiments.miniature.rows import WRITERS
from experiments.miniature.world import SideName, Speaker
from rankprobe.tasks import TASKS

BUNDLED = Path(__file__).parent.parent.parent / "rankprobe" / "bundled"

SIZES = {
    "boolq": (1000, 300),
    "cb": (250, 56),
    "copa": (400, 100),
    "multirc": (150, 50),
    "record": (600, 300),
    "rte": (1000, 277),
    "wic": (1000, 300),
    "wsc": (554, 104),
}
"""Rows (MultiRC: passages) of train and val: SuperGLUE's where small, fewer than its elsewhere."""

STEADY = 500
"""Rows (MultiRC: passages with about 7 answers each, a seventh) of the longer dev split of each task."""


def rows(name: str, side: SideName, count: int) -> list[dict[str, Any]]:
    """Different rows of a task; a shorter list is the head of a longer one."""
    say = Speaker(side, f"rows {name}")
    drawn: dict[str, dict[str, Any]] = {}
    while len(drawn) < count:
        row = WRITERS[name](say)
        drawn.setdefault(json.dumps(row), row)
    return [{**row, "idx": i} for i, row in enumerate(drawn.values())]


def write(folder: Path = BUNDLED, count: int | None = None) -> None:
    """Write `train`, `val` and the longer `val500` of each task; with a `count`, a `val` of so many rows."""
    for name, (n_train, n_val) in SIZES.items():
        longest = count or STEADY
        steady = rows(name, "val", longest // 7 if name == "multirc" else longest)
        splits = {"train": rows(name, "train", n_train)}
        splits |= {"val": steady} if count else {"val": steady[:n_val], "val500": steady}
        below = folder / TASKS[name].folder
        below.mkdir(parents=True, exist_ok=True)
        for split, part in splits.items():
            lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in part)
            (below / f"{split}.jsonl").write_text(lines)


if __name__ == "__main__":
    given = sys.argv[1:]
    write(Path(given[0]), int(given[1])) if len(given) == 2 else write()
