"""Experiment trackers: they get what a run folder holds, while the run goes on or afterwards.

    base         what a tracker is, and what it gets
    registry     the trackers by name
    points       the numbers of a run folder, step by step
    follow       a run to its trackers, once or until its end: what `rankprobe track` calls
    live         reporting while training, from a process of its own
    tensorboard  event files in the run folder
    wandb        Weights & Biases
    mlflow       MLflow
    trackio      Trackio

Training never waits for a tracker, except for a bounded time at its end. All numbers come from the logs, so
those that are reported live and those that are reported afterwards are the same.
"""

from __future__ import annotations

from rankprobe.trackers.base import Point, TrackedRun, Tracker
from rankprobe.trackers.follow import Tracked, track, tracking_error
from rankprobe.trackers.live import Reporters
from rankprobe.trackers.registry import TRACKERS, chosen_trackers

__all__ = [
    "TRACKERS",
    "Point",
    "Reporters",
    "Tracked",
    "TrackedRun",
    "Tracker",
    "chosen_trackers",
    "track",
    "tracking_error",
]
