"""The tasks: one file per task; `sources` finds the rows, `readers` reads files, `metrics` scores a split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankprobe.errors import RankprobeError, unknown
from rankprobe.plugins import Registry
from rankprobe.tasks.base import INVALID, Example, Row, Task
from rankprobe.tasks.boolq import BOOLQ
from rankprobe.tasks.cb import CB
from rankprobe.tasks.copa import COPA
from rankprobe.tasks.custom import load_task, paired_task
from rankprobe.tasks.harness import load_harness_task
from rankprobe.tasks.metrics import METRICS, Predictions, baseline_scores, parse_predictions, score
from rankprobe.tasks.multirc import MULTIRC
from rankprobe.tasks.record import RECORD
from rankprobe.tasks.rte import RTE
from rankprobe.tasks.sources import BUNDLED_SPLITS, PLACES, SPLITS, Split, load_split
from rankprobe.tasks.wic import WIC
from rankprobe.tasks.wsc import WSC


def _from_plugin(name: str, task: Any, _: Mapping[str, Task]) -> Task:
    """A task of a plugin.

    Raises:
        RankprobeError: it is not a task with files of its own, or names something that does not exist.
    """
    if not isinstance(task, Task):
        raise RankprobeError("expected an instance of rankprobe.tasks.Task")
    if task.name != name:
        raise RankprobeError(f"its name is '{task.name}'; give both the same name")
    if set(task.files) != set(SPLITS):
        raise RankprobeError(f"its files are those of {sorted(task.files)}; expected {sorted(SPLITS)}")
    if task.long_field not in task.fields:
        raise RankprobeError(f"its long_field '{task.long_field}' is no field of its template")
    for metric in task.metrics:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
    return task


TASKS: Registry[Task] = Registry(
    "task", {task.name: task for task in (BOOLQ, CB, COPA, MULTIRC, RECORD, RTE, WIC, WSC)}, _from_plugin
)
"""The tasks by name. Those of plugins, as those of the user, name their own files."""


def get_task(name: str) -> Task:
    """The task `name` of rankprobe or a plugin, or a custom task from a TOML file, a YAML file or a folder.

    Raises:
        RankprobeError: an unknown name, or a file or folder that does not define a task.
    """
    if name in TASKS:
        return TASKS[name]
    if name.endswith(".toml"):
        return load_task(Path(name))
    if name.endswith((".yaml", ".yml")):
        return load_harness_task(Path(name))
    if Path(name).is_dir():
        return paired_task(Path(name).resolve())
    if "/" in name or Path(name).is_file():
        raise RankprobeError(f"task '{name}' is not a folder, or a .toml or .yaml file; see: rankprobe tasks")
    raise unknown("task", name, TASKS)


__all__ = [
    "BUNDLED_SPLITS",
    "INVALID",
    "METRICS",
    "PLACES",
    "SPLITS",
    "TASKS",
    "Example",
    "Predictions",
    "Row",
    "Split",
    "Task",
    "baseline_scores",
    "get_task",
    "load_harness_task",
    "load_split",
    "load_task",
    "paired_task",
    "parse_predictions",
    "score",
]
