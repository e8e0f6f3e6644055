"""What is trained on: one file per task, `sources` finds the rows, `metrics` scores a whole split."""

from pathlib import Path

from rankprobe.errors import RankprobeError, unknown
from rankprobe.tasks.base import INVALID, Example, Row, Task
from rankprobe.tasks.boolq import BOOLQ
from rankprobe.tasks.cb import CB
from rankprobe.tasks.copa import COPA
from rankprobe.tasks.custom import load_task, paired_task
from rankprobe.tasks.metrics import METRICS, Sheet, judged, majority_scores, score
from rankprobe.tasks.multirc import MULTIRC
from rankprobe.tasks.record import RECORD
from rankprobe.tasks.rte import RTE
from rankprobe.tasks.sources import BUNDLED_SPLITS, PLACES, SPLITS, Split, load_split
from rankprobe.tasks.wic import WIC
from rankprobe.tasks.wsc import WSC

TASKS = {task.name: task for task in (BOOLQ, CB, COPA, MULTIRC, RECORD, RTE, WIC, WSC)}


def get_task(name: str) -> Task:
    """The task called `name`, or the one that a TOML file or a folder of that name describes.

    Raises:
        RankprobeError: no such task (the nearest one is named), or a file or folder that describes none.
    """
    if name in TASKS:
        return TASKS[name]
    if name.endswith(".toml"):
        return load_task(Path(name))
    if Path(name).is_dir():
        return paired_task(Path(name).resolve())
    if "/" in name:
        raise RankprobeError(f"task '{name}' is no folder and no TOML file; see: rankprobe tasks")
    raise unknown("task", name, TASKS)


__all__ = [
    "BUNDLED_SPLITS",
    "INVALID",
    "METRICS",
    "PLACES",
    "SPLITS",
    "TASKS",
    "Example",
    "Row",
    "Sheet",
    "Split",
    "Task",
    "get_task",
    "judged",
    "load_split",
    "load_task",
    "majority_scores",
    "paired_task",
    "score",
]
