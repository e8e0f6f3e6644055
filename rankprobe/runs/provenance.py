"""The time, package versions and machine of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rankprobe import plugins

PACKAGES = (
    "rankprobe", "torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "pandas",
    "safetensors", "scikit-learn",
)  # fmt: skip


def provenance(device: str) -> dict[str, Any]:
    """Return time, process, package versions, machine and git commit of the start or resume of a run."""
    return {
        "started": now(),
        "process": process(),
        "versions": versions(),
        "machine": machine(device),
        "git_commit": git_commit(),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that can change a result, with those of plugins.

    None: not installed.
    """

    def installed_version(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    ours = {name: installed_version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **ours, **plugins.packages()}


def machine(device: str) -> dict[str, Any]:
    """Return the hardware, and what affects the rounding of sums: threads, and on a GPU, CUDA and TF32."""
    import torch  # not at the top: reading runs must not import torch

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


def accelerators() -> dict[str, Any]:
    """Return the names of the CUDA devices, and whether there is Apple's MPS."""
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cuda": names, "mps": torch.backends.mps.is_available()}


def process() -> dict[str, Any]:
    """Return the id and the host of this process, which writes the run folder."""
    return {"pid": os.getpid(), "host": platform.node()}


def git_commit() -> str | None:
    """Return the git commit of the working directory, with a `+` for local changes.

    None outside a repository, or without git.
    """
    try:
        options: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "timeout": 10, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **options).stdout.strip()
        # fsmonitor would run a command from the config of the repository, which may come from a stranger.
        status = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain", "-uno"]
        changed = subprocess.run(status, **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if changed else commit


def now() -> str:
    """Return the time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
