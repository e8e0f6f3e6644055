"""From many configs to few passes through the backbone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise

from rankprobe.errors import RankprobeError
from rankprobe.training.config import RunConfig
from rankprobe.training.session import cohort_key

MOST = 16
"""Members of a cohort, unless asked otherwise: a unit of work for a shard, a Ray task and a checkpoint."""


def pack(configs: Sequence[RunConfig], most: int | None = None) -> list[list[RunConfig]]:
    """Group configs into cohorts that can be trained in one pass, in order of first appearance.

    `most`: members of a cohort; unset: any number. Cohorts of one kind are as even as can be.
    """
    kinds: dict[str, list[RunConfig]] = {}
    for config in configs:
        kinds.setdefault(json.dumps(cohort_key(config)), []).append(config)
    return [part for kind in kinds.values() for part in _even(kind, most or len(kind))]


def _even(kind: list[RunConfig], most: int) -> list[list[RunConfig]]:
    parts = -(-len(kind) // most)
    bounds = [-(-len(kind) * i // parts) for i in range(parts + 1)]
    return [kind[low:high] for low, high in pairwise(bounds)]


def shard(cohorts: Sequence[list[RunConfig]], which: str) -> list[list[RunConfig]]:
    """The cohorts of one process of many, by `i/n`, i from 1 to n; together the n shards are all cohorts.

    Which cohort falls to whom depends on the plan alone, not on what is finished.

    Raises:
        RankprobeError: no such shard.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", which)
    i, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= i <= n:
        raise RankprobeError(f"shard is '{which}'; expected i/n with i from 1 to n, such as 1/4")
    return list(cohorts[i - 1 :: n])
