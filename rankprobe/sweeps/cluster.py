"""The engine for several GPUs or machines: each cohort is a Ray task that writes its run folders."""

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

from rankprobe.config.run import RunConfig
from rankprobe.errors import RankprobeError, RunInterrupted, first_line
from rankprobe.interrupt import StopRequest
from rankprobe.runs.heartbeat import STALE
from rankprobe.sweeps.engine import Cohort, Engine, Problems, train_here

LOCK_TIMEOUT = STALE + 30
"""Seconds that a retried task waits until the previous worker has stopped writing the run folders.

If that worker's node died, its heartbeats become stale in this time.
"""

RETRIES = 5
"""How often Ray retries a cohort whose worker died or was asked to stop.

Each retry continues from a checkpoint, so this is enough on preemptible machines. The limit stops a cohort
that kills its own workers (out of memory, a driver crash).
"""

OBJECT_STORE_BYTES = 80 * 2**20
"""Size of Ray's object store. It holds only configs and error messages, and /dev/shm may be small."""

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for an answer from the address of a cluster; Ray itself tries for minutes."""

POLL_INTERVAL = 1.0
"""Seconds between checks for a stop request."""


def on_ray(*, address: str | None = None, cpus: float = 1, gpus: float | None = 0) -> Engine:
    """Return an engine that trains each cohort as a task of a Ray cluster, on any node with free resources.

    Run folders must be on a file system that all nodes share, and every node must find the same data, models
    and packages as this one. If a node dies, another one continues its runs from their checkpoints. After
    Ctrl-C or another stop signal, all tasks write a checkpoint before the engine ends.

    Args:
        address: HOST:PORT of the cluster, or `auto` for the cluster on this machine. Unset: the environment
            variable RAY_ADDRESS; if that is unset too, a new cluster on this machine.
        cpus: CPUs per cohort; also the number of its compute threads.
        gpus: GPUs per cohort; None: 1 if the cluster has GPUs, else 0.

    Raises:
        RankprobeError: Ray is not installed. The engine itself raises it if it cannot connect to the cluster.
    """
    # Otherwise Ray sends usage statistics to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise Ray retries a task without limit if it runs out of memory.
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    try:
        import ray
    except ImportError:
        message = "--engine ray needs Ray; install it with: pip install 'rankprobe[ray]'"
        raise RankprobeError(message) from None

    def engine(
        cohorts: Sequence[Cohort], runs_dir: Path, to_truncate: Collection[str]
    ) -> Iterator[tuple[Cohort, Problems]]:
        if not cohorts:
            return
        with _connected(address), StopRequest() as stop:
            gpus_each = float(_has_gpu()) if gpus is None else gpus
            _check_resources(cpus, gpus_each)
            # A worker that its node asks to stop writes a checkpoint and raises RunInterrupted.
            retrying: dict[str, Any] = {"max_retries": RETRIES, "retry_exceptions": [RunInterrupted]}
            task = ray.remote(num_cpus=cpus, num_gpus=gpus_each, **retrying)(train_on_node)
            running = {task.remote(*work_of(cohort, runs_dir, to_truncate)): cohort for cohort in cohorts}
            try:
                while running:
                    ended, _ = ray.wait(list(running), timeout=POLL_INTERVAL)
                    for reference in ended:
                        cohort = running.pop(reference)
                        yield cohort, _result(reference, cohort)
                    if stop.requested:
                        raise RunInterrupted("stopped on request")
            finally:
                for reference in running:
                    ray.cancel(reference)  # like Ctrl-C in the task
                if running:  # disconnecting kills the workers, so wait until they have written checkpoints
                    ray.wait(list(running), num_returns=len(running))

    return engine


def work_of(
    cohort: Cohort, runs_dir: Path, to_truncate: Collection[str]
) -> tuple[list[dict[str, Any]], str, set[str]]:
    """The arguments of `train_on_node` for a cohort, as plain data."""
    ids = {config.run_id for config in cohort} & set(to_truncate)
    return [config.flat() for config in cohort], str(runs_dir.resolve()), ids


def train_on_node(
    configs: Sequence[Mapping[str, Any]], runs_dir: str, to_truncate: Collection[str]
) -> Problems:
    """Call `train_here` on a node of the cluster, with configs as flat mappings."""
    cohort = [RunConfig.parse(config) for config in configs]
    return train_here(cohort, Path(runs_dir), to_truncate, lock_timeout=LOCK_TIMEOUT)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to Ray. An existing connection is used and stays open.

    Raises:
        RankprobeError: there is no cluster at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(target)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address=target, **quiet, **(local if target == "local" else {}))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RankprobeError(f"cannot use Ray at '{target}': {first_line(error)}") from None
    with _silenced():  # also during the shutdown, which prints delayed messages
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Do not print Ray's long messages about lost workers and nodes; they are in its log files.

    `log_to_driver` does not affect these messages, and no public setting does. If the private one disappears
    from Ray, the messages are printed.
    """
    worker: Any = importlib.import_module("ray._private.worker")
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = True


def _check_address(address: str) -> None:
    """Raise an error if nothing answers at `address`."""
    if address in ("local", "auto"):
        return
    match = re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)
    if not match:
        raise RankprobeError(f"Ray's address is '{address}'; expected HOST:PORT of its head node, or auto")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise RankprobeError(
            f"no Ray cluster at '{address}' ({error}); start one there with: ray start --head"
        ) from None


def _has_gpu() -> bool:
    import ray

    return any(node["Resources"].get("GPU", 0) >= 1 for node in ray.nodes() if node["Alive"])


def _check_resources(cpus: float, gpus: float) -> None:
    """Warn if no node is large enough for a cohort: Ray waits silently for a larger node to join."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        warnings.warn(
            f"no node of the Ray cluster has the {cpus:g} CPUs and {gpus:g} GPUs that a cohort needs; "
            "waiting for such a node to join (or stop with Ctrl-C and lower --cpus or --gpus)",
            stacklevel=2,
        )


def _result(reference: Any, cohort: Cohort) -> Problems:
    """Return the problems of a task's runs. If the task itself failed, all its runs have its error."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        reason = f"{type(error.cause).__name__}: {error.cause}"
    except RayError as error:
        reason = first_line(error)
    return {config.run_id: reason for config in cohort}
