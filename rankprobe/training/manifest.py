"""The manifest of a run: what was asked for, and where the result came from."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
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

DECISIVE = ("platform", "device", "processor", "cuda", "tf32", "instructions", "threads")
"""Of `machine`: what can change the rounding of a result."""

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
            "unknown_share": {"train": train.unknown_share, "validation": validation.unknown_share},
            "max_new_tokens": session.exam.max_new_tokens,
        },
        "trainable": {name: parameter.numel() for name, parameter in learner.trained.items()},
        "trainable_parameters": sum(p.numel() for p in learner.trained.values()),
        "progress": {"step": 0, "total_steps": session.total_steps},
        "timings": {},
        "numerical_rank_rtol": numerical_rank_rtol((n, d)) if n else None,
        "notes": [
            *notes(config.method, backbone),
            *session.task.targets_note(config.task.targets),
            *unknown_note(train.unknown_share, validation.unknown_share),
            *CONTROLS[config.task.control],
        ],
        "selection": SELECTION[config.task.report_split],
        **provenance(str(backbone.device)),
        "resumed": [],
    }


def unknown_note(train: float, validation: float) -> list[str]:
    """What a user must know of text that the tokenizer cannot represent; the arguments are shares of rows."""
    if not train + validation:
        return []
    return [
        f"the tokenizer cannot represent part of the text in {_percent(train)} of the training rows and "
        f"{_percent(validation)} of the dev rows; the model sees its unknown piece there"
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def provenance(device: str) -> dict[str, Any]:
    """When, with what and where a run was started or resumed."""
    return {
        "started": now(),
        "process": process(),
        "versions": versions(),
        "machine": machine(device),
        "git_commit": git_commit(),
    }


ELSEWHERE = "resumed elsewhere"
"""How the note begins that a run went on with other hardware, threads or versions than it started with."""


def with_note_of_resume(
    manifest: Mapping[str, Any], now_at: Mapping[str, Any], step: int, start_error: float
) -> list[str]:
    """The notes of a run that is resumed, with one more if it was started elsewhere; there is one of these.

    Args:
        manifest: the run's.
        now_at: the `provenance` of the resume.
        step: of the checkpoint it goes on from.
        start_error: ‖ΔP0‖ / ‖P0‖ between the initial prompt made now and the one made at the start.
    """
    notes = list(manifest.get("notes", []))
    found = differences(manifest, now_at)
    if start_error:
        found.append(f"initial prompt differs by {start_error:.0e} of its norm")
    if found and not any(note.startswith(ELSEWHERE) for note in notes):
        notes.append(
            f"{ELSEWHERE} after step {step} ({', '.join(found)}); its later steps can differ from those of "
            "an uninterrupted run by rounding"
        )
    return notes


def differences(then: Mapping[str, Any], now_at: Mapping[str, Any]) -> list[str]:
    """In what the `provenance` of a resume differs from that of the start: `name new, was old`."""
    found = []
    for part, names in (("process", ("host",)), ("machine", DECISIVE), ("versions", None)):
        old, new = then.get(part, {}), now_at[part]
        shared = [name for name in names or new if isinstance(old, Mapping) and name in old]
        found += [f"{name} {new[name]}, was {old[name]}" for name in shared if old[name] != new[name]]
    return found


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
        "instructions": torch.backends.cpu.get_cpu_capability(),
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
