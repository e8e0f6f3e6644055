"""Group many configs into few cohorts, and split the cohorts over processes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise

from rankprobe.config.cohort import cohort_key
from rankprobe.config.run import RunConfig
from rankprobe.errors import RankprobeError

MAX_MEMBERS = 16
"""Default size limit of a cohort. A cohort is the unit of work of a shard and of a Ray task."""


def pack(configs: Sequence[RunConfig], max_members: int | None = None) -> list[list[RunConfig]]:
    """Group configs into cohorts. Each can be trained in one pass; they are in order of first appearance.

    Args:
        configs: the runs.
        max_members: the size limit of a cohort; unset: no limit. Larger cohorts are divided into cohorts of
            nearly equal size.
    """
    groups: dict[str, list[RunConfig]] = {}
    for config in configs:
        groups.setdefault(json.dumps(cohort_key(config)), []).append(config)
    return [part for group in groups.values() for part in _split_evenly(group, max_members or len(group))]


def _split_evenly(group: list[RunConfig], max_members: int) -> list[list[RunConfig]]:
    parts = -(-len(group) // max_members)
    bounds = [-(-len(group) * i // parts) for i in range(parts + 1)]
    return [group[low:high] for low, high in pairwise(bounds)]


def shard(cohorts: Sequence[list[RunConfig]], which: str) -> list[list[RunConfig]]:
    """Return the cohorts of shard `i/n`, with i from 1 to n. Each cohort is in exactly one of the n shards.

    The division depends only on the list of cohorts, not on which runs are finished.

    Raises:
        RankprobeError: `which` is not i/n with i from 1 to n.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", which)
    i, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= i <= n:
        raise RankprobeError(f"shard is '{which}'; expected i/n with i from 1 to n, such as 1/4")
    return list(cohorts[i - 1 :: n])
