"""The engine for SLURM without a script: each cohort is a job of an array that submitit submits."""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rankprobe.errors import RankprobeError, RunInterrupted, unknown
from rankprobe.interrupt import StopRequest, interrupt_on_signals
from rankprobe.logger import log
from rankprobe.sweeps.cluster import LOCK_TIMEOUT, POLL_INTERVAL, RETRIES, train_on_node, work_of
from rankprobe.sweeps.engine import Cohort, Engine, Problems

JOBS = "slurm"
"""The folder of the jobs and their logs, in the folder of runs."""

SHARED = {"timeout_min": int, "cpus_per_task": int, "gpus_per_node": int, "mem_gb": float}
ONLY_SLURM = {"partition": str, "account": str, "qos": str, "constraint": str, "exclude": str,
              "array_parallelism": int}  # fmt: skip
DEFAULTS = {"timeout_min": 240, "cpus_per_task": 4}
"""Of the options; the others are left to the cluster."""

MAX_TIMEOUTS = 1000
"""How often a job may be queued again at its time limit: as often as it takes."""


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Parse options such as `partition=gpu` and `timeout_min=120`, under submitit's names.

    Raises:
        RankprobeError: an option is unknown, is no KEY=VALUE, or its value is out of range.
    """
    kinds, options = SHARED | ONLY_SLURM, dict[str, Any]()
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise RankprobeError(f"--slurm is '{text}'; expected KEY=VALUE, such as --slurm partition=gpu")
        if key not in kinds:
            raise unknown("SLURM option", key, kinds)
        try:
            options[key] = kinds[key](value)
        except ValueError:
            raise RankprobeError(f"--slurm {key} is '{value}'; expected a number") from None
        if kinds[key] is not str and not 0 <= options[key] < 10**6:
            raise RankprobeError(f"--slurm {key} is '{value}'; expected a number from 0 to 999999")
    return options


def on_slurm(options: Mapping[str, Any], *, cluster: str = "slurm") -> Engine:
    """Return an engine that trains each cohort as a SLURM job, and waits for them.

    Run folders must be on a file system that all nodes share, and every node must find the same data, models
    and packages. Before its time limit, and when it is preempted, a job writes a checkpoint and is queued
    again; a job that is lost is submitted again. After Ctrl-C or another stop signal, all jobs write a
    checkpoint and are cancelled before the engine ends.

    Args:
        options: of `parse_options`.
        cluster: `slurm`, or `local` for processes of this machine, as the tests do.

    Raises:
        RankprobeError: submitit is not installed. The engine itself raises it if there is no SLURM here.
    """
    try:
        submitit: Any = importlib.import_module("submitit")
    except ImportError:
        message = "--engine slurm needs submitit; install it with: pip install 'rankprobe[slurm]'"
        raise RankprobeError(message) from None

    def engine(
        cohorts: Sequence[Cohort], runs_dir: Path, to_truncate: Collection[str]
    ) -> Iterator[tuple[Cohort, Problems]]:
        if not cohorts:
            return
        root = runs_dir.resolve()
        try:
            executor = submitit.AutoExecutor(root / JOBS, cluster, slurm_max_num_timeout=MAX_TIMEOUTS)
        except RuntimeError:
            raise RankprobeError(
                "no SLURM here (srun was not found); sweep on a login node, or with --engine local"
            ) from None
        executor.update_parameters(name="rankprobe", **_parameters(options))

        def submit(some: Sequence[Cohort]) -> list[tuple[Any, Cohort]]:
            with executor.batch():
                jobs = [executor.submit(CohortJob(*work_of(cohort, root, to_truncate))) for cohort in some]
            log.info("submitted %d jobs: %s", len(jobs), ", ".join(job.job_id for job in jobs))
            return list(zip(jobs, some, strict=True))

        lost = [0] * len(cohorts)
        with StopRequest() as stop:
            running = submit(cohorts)
            try:
                while running:
                    time.sleep(POLL_INTERVAL)
                    for job, cohort in [pair for pair in running if pair[0].done()]:
                        running.remove((job, cohort))
                        place = cohorts.index(cohort)
                        if not job.paths.result_pickle.exists() and lost[place] < RETRIES:
                            lost[place] += 1
                            log.info("job %s was lost; submitting its runs again", job.job_id)
                            running += submit([cohort])
                        else:
                            yield cohort, _result(job, cohort)
                    if stop.requested:
                        raise RunInterrupted("stopped on request")
            finally:
                _cancel([job for job, _ in running])

    return engine


class CohortJob:
    """What a job does. It is pickled, so its attributes are plain data."""

    def __init__(self, configs: list[dict[str, Any]], runs_dir: str, to_truncate: set[str]) -> None:
        self.arguments = (configs, runs_dir, to_truncate)

    def __call__(self) -> Problems:
        """Train a cohort. After submitit's signal, end the step, write a checkpoint, and queue the job again.

        submitit's own handler would end the process within a step; it is called after the checkpoint.
        """
        queue_again, asked = signal.getsignal(signal.SIGUSR2), False

        def ask(number: int, frame: FrameType | None) -> None:
            nonlocal asked
            asked = True
            signal.raise_signal(signal.SIGTERM)

        try:
            with interrupt_on_signals():
                signal.signal(signal.SIGUSR2, ask)
                return train_on_node(*self.arguments)
        except (RunInterrupted, KeyboardInterrupt):
            if asked and callable(queue_again):
                queue_again(signal.SIGUSR2, None)  # ends this process
            sys.exit(130)  # without a result: the job was cancelled, or SLURM itself queues it again

    def checkpoint(self) -> Any:
        """Return what a job that is queued again does: the same, from the checkpoints of its runs."""
        submitit: Any = importlib.import_module("submitit")
        return submitit.helpers.DelayedSubmission(self)


def _parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options under the names of submitit's AutoExecutor."""
    prefixed = {key if key in SHARED else f"slurm_{key}": value for key, value in options.items()}
    return {**DEFAULTS, **prefixed}


def _result(job: Any, cohort: Cohort) -> Problems:
    """Return the problems of a job's runs. If the job itself failed, all its runs have its error."""
    try:
        return job.result()
    except Exception as error:  # submitit wraps the error of a job, and has its own for a lost one
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = next((line for line in reversed(lines) if "Error" in line), lines[-1]).strip()
        where = job.paths.stderr
        return {config.run_id: f"{reason} (its log: {where})" for config in cohort}


def _cancel(jobs: Sequence[Any]) -> None:
    """Cancel jobs, and wait until they have written their checkpoints."""
    for job in jobs:
        job.cancel(check=False)
    deadline = time.monotonic() + LOCK_TIMEOUT
    while not all(job.done(force_check=True) for job in jobs) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)
