"""The manifest of a run: what was asked for, and where the result came from."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from rankprobe.rank import numerical_rank_rtol
from rankprobe.training.config import RunConfig
from rankprobe.training.learner import Learner
from rankprobe.training.session import Session
from rankprobe.training.subsets import training_rows
from rankprobe.training.words import notes

PACKAGES = (
    "rankprobe", "torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "pandas",
    "safetensors", "scikit-learn",
)  # fmt: skip


FORMAT = 2
"""Of manifests. 2: the run's id hashes `RunConfig.identity`; 1: it hashed every setting."""


SELECTION = {
    "all": "best is chosen and reported on the same validation rows; last is beside it",
    "half": "best is chosen on the selection half of the validation rows and reported on the report half",
}


CONTROLS = {
    "none": [],
    "shuffle-labels": ["control: trained on the labels of other rows, so nothing is to be learned"],
    "random-labels": ["control: trained on labels drawn at random, so nothing is to be learned"],
}


def new_manifest(config: RunConfig, session: Session, learner: Learner) -> dict[str, Any]:
    """The manifest of a run that has not begun."""
    backbone, train, validation = session.backbone, session.train, session.exam.data
    n, d = config.method.prompt_length, backbone.d_model
    rows = training_rows(train.examples, config.task, config.seed)
    return {
        "format": FORMAT,
        "status": "running",
        "error": None,
        "updated": now(),
        "seed": config.seed,
        "config": config.tree(),
        "backbone": {
            "label": backbone.label,
            "source": backbone.source,
            "random_weights": backbone.random_weights,
            "revision": backbone.revision,
            "n_parameters": backbone.n_parameters(),
            "causal": backbone.causal,
            "fingerprint": session.backbone_fingerprint,
            "fingerprint_after": None,
        },
        "data": {
            "label": session.splits["train"].label,
            "source": session.splits["train"].source,
            "origin": {name: split.origin for name, split in session.splits.items()},
            "fingerprint": session.data_fingerprint,
            "tokens_fingerprint": session.tokens_fingerprint,
            "n_train": len(rows),
            "train_rows": None if config.task.shots is None else [train.rows[row] for row in rows],
            "n_validation": len(validation),
            "n_shortened": train.n_shortened + validation.n_shortened,
            "n_cut": train.n_cut + validation.n_cut,
            "max_new_tokens": session.exam.max_new_tokens,
        },
        "trainable": {name: parameter.numel() for name, parameter in learner.trained.items()},
        "trainable_parameters": sum(p.numel() for p in learner.trained.values()),
        "progress": {"step": 0, "total_steps": session.total_steps},
        "timings": {},
        "numerical_rank_rtol": numerical_rank_rtol((n, d)) if n else None,
        "notes": [*notes(config.method, backbone), *CONTROLS[config.task.control]],
        "selection": SELECTION[config.task.report_split],
        **provenance(str(backbone.device)),
        "resumed": [],
    }


def provenance(device: str) -> dict[str, Any]:
    """When, with what and where a run was started or resumed."""
    return {
        "started": now(),
        "process": process(),
        "versions": versions(),
        "machine": machine(device),
        "git_commit": git_commit(),
    }


def versions() -> dict[str, str | None]:
    """Versions of the packages that can change a result."""

    def of(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {"python": platform.python_version(), **{name: of(name) for name in PACKAGES}}


def machine(device: str) -> dict[str, Any]:
    """The hardware, and what decides the rounding of sums: threads, and on a GPU its CUDA and TF32."""
    on_gpu = device.startswith("cuda")
    return {
        "platform": platform.platform(),
        "device": device,
        "processor": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "cuda": torch.version.cuda if on_gpu else None,
        "tf32": torch.get_float32_matmul_precision() != "highest" if on_gpu else None,
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def process() -> dict[str, Any]:
    """Who is writing a run folder."""
    return {"pid": os.getpid(), "host": os.uname().nodename}


def git_commit() -> str | None:
    """The commit of the repository in the working directory, if it is one; `+` marks local changes."""
    try:
        ask = {"capture_output": True, "text": True, "timeout": 10, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()
        # No command that the repository's config names: the working directory may be a stranger's.
        quiet = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain", "-uno"]
        changed = subprocess.run(quiet, **ask).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if changed else commit


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
