"""The engine for several GPUs or machines: one cohort is one Ray task, the run folder its result."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import socket
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.sweeps.engine import Cohort, Engine, Problems, train_here
from rankprobe.training.config import RunConfig
from rankprobe.training.interrupt import StopRequest

PATIENCE = 60.0
"""Seconds that a retried task waits for the writer before it, which may outlive its node for a moment."""

RETRIES = 5
"""Times that a cohort is given to another worker when its own died or was asked to stop.

More than a sweep on machines that come and go should need, as each retry goes on from a checkpoint; finite,
for a cohort that itself kills its workers (no memory, a crash in a driver) would else never end the sweep.
"""

STORE = 80 * 2**20
"""Bytes of Ray's object store: only configs and reasons pass through it, and /dev/shm may be small."""

REACH = 5.0
"""Seconds to wait for an answer from the address of a cluster; Ray itself would try for minutes."""

GLANCE = 1.0
"""Seconds between looks at whether a stop was asked for."""


def on_ray(*, address: str | None = None, cpus: float = 1, gpus: float = 0) -> Engine:
    """An engine that trains every cohort as a task of a Ray cluster, wherever there is room.

    Run folders lie on a file system that all nodes share. A task whose node dies is given to another, where
    its runs go on from their checkpoints. Data, models and packages must be found on every node as they
    are here. On Ctrl-C or another stop signal every task writes a checkpoint before the engine ends.

    Args:
        address: HOST:PORT of the cluster, or `auto` for the one this machine belongs to; unset: RAY_ADDRESS,
            or where that is unset too, processes on this machine alone.
        cpus: processors that each cohort takes; also the threads it computes with.
        gpus: GPUs that each cohort takes.

    Raises:
        RankprobeError: Ray is not installed. The engine itself raises it where there is no such cluster.
    """
    # Ray reports usage to its makers unless told not to; nobody asked for that by training a prompt.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A kill for want of memory is else retried for ever, whatever the retries of the task.
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    try:
        import ray
    except ImportError:
        raise RankprobeError(
            "--engine ray needs Ray; install it with: pip install 'rankprobe[ray]'"
        ) from None

    def engine(
        cohorts: Sequence[Cohort], runs_dir: Path, cut: Collection[str]
    ) -> Iterator[tuple[Cohort, Problems]]:
        if not cohorts:
            return
        with _connected(address), StopRequest() as stop:
            _check_room(cpus, gpus)
            # A worker that its node asks to stop has written a checkpoint: as good as one that was lost.
            again: dict[str, Any] = {"max_retries": RETRIES, "retry_exceptions": [RunInterrupted]}
            task = ray.remote(num_cpus=cpus, num_gpus=gpus, **again)(train_there)
            root = str(runs_dir.resolve())
            under_way = {
                task.remote([c.tree() for c in cohort], root, {c.run_id for c in cohort} & set(cut)): cohort
                for cohort in cohorts
            }
            try:
                while under_way:
                    ended, _ = ray.wait(list(under_way), timeout=GLANCE)
                    for each in ended:
                        cohort = under_way.pop(each)
                        yield cohort, _result(each, cohort)
                    if stop.requested:
                        raise RunInterrupted("stopped on request")
            finally:
                for left in under_way:
                    ray.cancel(left)  # as Ctrl-C to the task
                if under_way:  # who leaves a cluster takes his workers along: not before their checkpoints
                    ray.wait(list(under_way), num_returns=len(under_way))

    return engine


def train_there(trees: Sequence[Mapping[str, Any]], runs_dir: str, cut: Collection[str]) -> Problems:
    """`train_here` on a node of the cluster; configs travel as plain data."""
    return train_here([RunConfig.parse(tree) for tree in trees], Path(runs_dir), cut, patience=PATIENCE)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray, ready for tasks; a connection that was there before is used and kept.

    Raises:
        RankprobeError: there is no such cluster.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(where)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    ours: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(address=where, **quiet, **(ours if where == "local" else {}))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RankprobeError(f"no use of Ray at '{where}': {_first_line(error)}") from None
    with _in_silence():  # to the end: what Ray has held back to print once, it prints on shutdown
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Without the pages that Ray prints about each lost worker and node, which its log files keep.

    `log_to_driver` does not cover them, and their switch has no public name; without it they are printed.
    """
    inner: Any = importlib.import_module("ray._private.worker")
    inner._worker_logs_enabled = False
    try:
        yield
    finally:
        inner._worker_logs_enabled = True


def _check_answers(address: str) -> None:
    if address in ("local", "auto"):
        return
    found = re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)
    if not found:
        raise RankprobeError(f"Ray's address is '{address}'; expected HOST:PORT of its head node, or auto")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=REACH).close()
    except (OSError, OverflowError) as error:
        raise RankprobeError(
            f"no Ray cluster at '{address}' ({error}); start one there with: ray start --head"
        ) from None


def _check_room(cpus: float, gpus: float) -> None:
    """Say so where no node could ever take a cohort: it may still join, but Ray waits for it in silence."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        warnings.warn(
            f"no node of the Ray cluster has the {cpus:g} CPUs and {gpus:g} GPUs that a cohort takes; "
            "waiting for one to join (Ctrl-C, then --cpus or --gpus, asks for less)",
            stacklevel=2,
        )


def _result(ended: Any, cohort: Cohort) -> Problems:
    """What the task returned; a task that could not return fails its runs, not the sweep."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ended)
    except RayTaskError as error:
        why = f"{type(error.cause).__name__}: {error.cause}"
    except RayError as error:
        why = _first_line(error)
    return {config.run_id: why for config in cohort}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
