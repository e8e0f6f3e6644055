"""Device maps: where accelerate puts the parts of a large model, as users write it."""

from __future__ import annotations

import re
from typing import Any

from rankprobe.errors import RankprobeError

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
"""Ways to fill the GPUs, by their names in transformers; what does not fit goes to memory, then to disk."""

LIMIT = re.compile(r"(cpu|\d+)=(\d+(?:\.\d+)?[KMG]i?B)")


def parse_device_map(device_map: str) -> dict[str, Any]:
    """What `from_pretrained` is told of a device map: a strategy, or limits such as `0=20GiB,cpu=8GiB`.

    Limits are per GPU number and for `cpu`. A device without one is not used, and the rest goes to disk.

    Raises:
        RankprobeError: neither of them.
    """
    if device_map in STRATEGIES:
        return {"device_map": device_map}
    limits = [LIMIT.fullmatch(each.strip()) for each in device_map.split(",")]
    memory = {int(each[1]) if each[1] != "cpu" else "cpu": each[2] for each in limits if each}
    if len(memory) < len(limits):
        raise RankprobeError(
            f"device_map is '{device_map}'; expected {', '.join(STRATEGIES)}, or limits such as "
            "0=20GiB,cpu=8GiB (GPU number or cpu, each once)"
        )
    return {"device_map": "auto", "max_memory": memory}
