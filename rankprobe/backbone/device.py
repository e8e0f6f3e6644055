"""The device of a backbone, and the dtype of its frozen weights there."""

from __future__ import annotations

import torch

from rankprobe.errors import RankprobeError, first_line
from rankprobe.settings import default_dtype

DEVICES = ("cpu", "cuda", "mps")


def chosen_device(device: str, dtype: str | None = None) -> str:
    """`device`; for `auto`, CUDA if available, else MPS (which has no float64), else the CPU."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() and dtype != "float64" else "cpu"


def chosen_dtype(dtype: str | None, device: str, device_map: str | None = None) -> str:
    """`dtype`; for None, the default of the device. A device map fills GPUs first."""
    if dtype is not None:
        return dtype
    on_gpu = device_map is not None and torch.cuda.is_available()
    return default_dtype("cuda" if on_gpu else chosen_device(device)) or "float32"


def check_device(device: str) -> None:
    """Check that a device can be used.

    Raises:
        RankprobeError: it does not exist, or torch cannot allocate memory on it.
    """
    if problem := device_problem(device):
        raise RankprobeError(
            f"device '{device}' cannot be used ({problem}); see what there is: rankprobe env"
        )


def device_problem(device: str) -> str:
    """Why torch cannot compute on a device; empty if it can."""
    try:
        if torch.device(device).type not in DEVICES:
            raise RuntimeError(f"expected one of auto, {', '.join(DEVICES)}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return ""
