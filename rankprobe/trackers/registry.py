"""The trackers by name: those of rankprobe, and those of plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from rankprobe.errors import RankprobeError, unknown
from rankprobe.plugins import Registry
from rankprobe.trackers.base import Tracker
from rankprobe.trackers.mlflow import MLflow
from rankprobe.trackers.tensorboard import TensorBoard
from rankprobe.trackers.trackio import Trackio
from rankprobe.trackers.wandb import Wandb


def _from_plugin(name: str, tracker: Any, trackers: Mapping[str, type[Tracker]]) -> type[Tracker]:
    """Check the class of a plugin.

    Raises:
        RankprobeError: it is not a class of trackers.
    """
    if not isinstance(tracker, type) or not issubclass(tracker, Tracker):
        raise RankprobeError("expected a subclass of rankprobe.trackers.Tracker")
    return tracker


TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow, "trackio": Trackio},
    _from_plugin,
)


def chosen_trackers(names: str | Sequence[str]) -> list[str]:
    """The trackers that `names` choose, each once.

    Args:
        names: a sequence, or one text with commas, as in `wandb,tensorboard`.

    Raises:
        RankprobeError: no such tracker, or the package that it needs is not installed.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    chosen = list(dict.fromkeys(name.strip() for name in listed))
    for name in chosen:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
    for name in chosen:
        module, package = TRACKERS[name].requires
        if module and find_spec(module) is None:
            raise RankprobeError(
                f"tracker '{name}' needs the package {package}; install it with: "
                f"pip install {_extra(name, package)}"
            )
    return chosen


def _extra(name: str, package: str) -> str:
    return f"'rankprobe[{name}]'" if name in TRACKERS.own else package
