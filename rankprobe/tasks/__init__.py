"""What is trained on: one file per task, `sources` finds the rows, `metrics` scores a whole split."""

from rankprobe.errors import unknown
from rankprobe.tasks.base import Example, Row, TargetStyle, Task
from rankprobe.tasks.cb import CB
from rankprobe.tasks.metrics import INVALID, METRICS, majority_scores, score
from rankprobe.tasks.sources import SPLITS, Split, load_split

TASKS = {task.name: task for task in (CB,)}


def get_task(name: str) -> Task:
    """The task called `name`.

    Raises:
        RankprobeError: no such task (the nearest one is named).
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


__all__ = [
    "INVALID",
    "METRICS",
    "SPLITS",
    "TASKS",
    "Example",
    "Row",
    "Split",
    "TargetStyle",
    "Task",
    "get_task",
    "load_split",
    "majority_scores",
    "score",
]
