"""rankprobe measures the intrinsic rank of soft prompts, and says how far a reading can be trusted.

The rooms, in the order in which data flows:

    prompts    what is trained: probe, DPT, vanilla and residual prompt tuning, fine-tuning, …
    backbone   what is frozen: load a model, splice a prompt into it, score, decode
    tasks      what it is trained on: SuperGLUE from the hub, a folder, or the bundled miniature
    rank       what is measured: rank measures of matrices, and their nulls
    runs       what is written down: the run folder, and back into pandas frames
    training   the loop, which ties them
    sweeps     many runs
    reports    what it means: readings beside their nulls, and words that follow from them
    plots      frames in, figures out
    cli        the front desk

The door:

    >>> import rankprobe as rp
    >>> run = rp.probe(task="cb", model="t5-base", seed=1)  # doctest: +SKIP
    >>> frames = rp.load_runs("runs")  # doctest: +SKIP
    >>> rp.rank.measure(run.prompt())  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rankprobe import plots, rank, reports, sweeps
    from rankprobe.errors import RankprobeError, RunFailed, RunInterrupted
    from rankprobe.reports import analyze, findings
    from rankprobe.runs import Frames, Run, find_run, list_runs, load_runs, read_prompts
    from rankprobe.training.api import probe, resume, train, train_cohort
    from rankprobe.training.config import RunConfig
    from rankprobe.training.recorder import StepRecord
    from rankprobe.training.trained import export_run, neighbors
    from rankprobe.training.truncate import truncate
    from rankprobe.training.using import evaluate_runs, predict

_HOMES = {
    "Frames": "runs",
    "RankprobeError": "errors",
    "Run": "runs",
    "RunConfig": "training.config",
    "RunFailed": "errors",
    "RunInterrupted": "errors",
    "StepRecord": "training.recorder",
    "analyze": "reports",
    "evaluate_runs": "training.using",
    "export_run": "training.trained",
    "find_run": "runs",
    "findings": "reports",
    "list_runs": "runs",
    "load_runs": "runs",
    "neighbors": "training.trained",
    "predict": "training.using",
    "probe": "training.api",
    "read_prompts": "runs",
    "resume": "training.api",
    "train": "training.api",
    "train_cohort": "training.api",
    "truncate": "training.truncate",
}

__version__ = "0.1.0"
__all__ = [
    "Frames",
    "RankprobeError",
    "Run",
    "RunConfig",
    "RunFailed",
    "RunInterrupted",
    "StepRecord",
    "analyze",
    "evaluate_runs",
    "export_run",
    "find_run",
    "findings",
    "list_runs",
    "load_runs",
    "neighbors",
    "plots",
    "predict",
    "probe",
    "rank",
    "read_prompts",
    "reports",
    "resume",
    "sweeps",
    "train",
    "train_cohort",
    "truncate",
]


def __getattr__(name: str) -> Any:
    """Import on first use: reading runs or printing help needs no torch."""
    if name in _HOMES:
        return getattr(import_module(f"rankprobe.{_HOMES[name]}"), name)
    if name in ("plots", "rank", "reports", "sweeps"):
        return import_module(f"rankprobe.{name}")
    raise AttributeError(f"module 'rankprobe' has no attribute '{name}'")
