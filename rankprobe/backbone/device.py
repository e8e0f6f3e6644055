"""Which device a backbone computes on, and in which dtype its frozen weights are kept there."""

from __future__ import annotations

import torch

from rankprobe.errors import RankprobeError
from rankprobe.hub import first_line
from rankprobe.settings import default_dtype

DEVICES = ("cpu", "cuda", "mps")


def chosen_device(device: str, dtype: str | None = None) -> str:
    """`device`, or for `auto` the fastest kind here: CUDA, then MPS (which has no float64), then the CPU."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() and dtype != "float64" else "cpu"


def chosen_dtype(dtype: str | None, device: str, device_map: str | None = None) -> str:
    """`dtype`, or where it is None the default of the device; a device map fills GPUs first."""
    if dtype is not None:
        return dtype
    on_gpu = device_map is not None and torch.cuda.is_available()
    return default_dtype("cuda" if on_gpu else chosen_device(device)) or "float32"


def check_device(device: str) -> None:
    """Make sure that a device can be used.

    Raises:
        RankprobeError: it cannot.
    """
    try:
        if torch.device(device).type not in DEVICES:
            raise RuntimeError(f"expected one of auto, {', '.join(DEVICES)}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RankprobeError(
            f"device '{device}' cannot be used ({first_line(error)}); see what there is: rankprobe env"
        ) from None
