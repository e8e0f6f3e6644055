"""Free memory of a device: of a GPU, or of the machine within the limits of control groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

PROCESS_GROUPS = Path("/proc/self/cgroup")
"""Linux lists here the control groups (cgroups) of this process; other systems have no such file."""

GROUPS = Path("/sys/fs/cgroup")
"""Where control groups are mounted: version 2 here or in `unified`, version 1's for memory in `memory`."""

LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""Files with a limit in bytes, or `max` for none: two of version 2, one of version 1."""

USED = ("memory.current", "memory.usage_in_bytes")
"""Files with the bytes in use, cached files included: of version 2, of version 1."""

CACHED = ("total_inactive_file", "inactive_file")
"""Entries of `memory.stat`: cached file pages, which the kernel drops when memory is short. The first is that
of version 1; like the usage, it includes child groups."""


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on a device.

    CUDA: free memory of the driver plus unused memory that torch holds. CPU: available memory of the system,
    or what the memory limits of the process's control groups leave; cached files count as free. MPS, which
    shares the machine's memory: also at most what Metal recommends.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    free = [psutil.virtual_memory().available, *_left_by_groups()]
    if device.type == "mps":
        free.append(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return max(0, min(free))


def _left_by_groups() -> Iterator[int]:
    """Bytes left under each memory limit of the process's control groups and of all groups above them."""
    for folder in _groups():
        limits = [limit for name in LIMITS if (limit := _number(folder / name)) is not None]
        used = next((used for name in USED if (used := _number(folder / name)) is not None), None)
        if limits and used is not None:
            yield min(limits) - used + _cached(folder)


def _groups() -> Iterator[Path]:
    """The folders of the process's memory control groups, each with those above it up to the mount."""
    try:
        lines = PROCESS_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mounts = [GROUPS, GROUPS / "unified"]
        else:
            mounts = [GROUPS / "memory"] if "memory" in controllers.split(",") else []
        for mount in mounts:
            # In a container the path may be the host's and not exist; the mount is then the group.
            folder = mount / path.lstrip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(mount))


def _cached(folder: Path) -> int:
    try:
        lines = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
        stat = {name: int(value) for name, value in lines}
    except (OSError, ValueError):
        return 0
    return next((stat[name] for name in CACHED if name in stat), 0)


def _number(path: Path) -> int | None:
    """The number in a file; None if the file does not exist or contains `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
