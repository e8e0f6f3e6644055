"""From one config to many, and from many to cohorts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from rankprobe.training.config import RunConfig
from rankprobe.training.session import cohort_key


def grid(base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """A config for each combination of `axes` (flat setting → values) over the flat settings `base`.

    Raises:
        RankprobeError: an unknown setting or a value out of range.
    """
    combinations = product(*axes.values())
    return [RunConfig.from_flat({**base, **dict(zip(axes, c, strict=True))}) for c in combinations]


def pack(configs: Sequence[RunConfig], most: int | None = None) -> list[list[RunConfig]]:
    """Group configs into cohorts that can be trained in one pass, in order of first appearance.

    `most`: members of a cohort; unset: any number.
    """
    cohorts: dict[str, list[RunConfig]] = {}
    for config in configs:
        cohorts.setdefault(json.dumps(cohort_key(config)), []).append(config)
    return [
        cohort[start : start + (most or len(cohort))]
        for cohort in cohorts.values()
        for start in range(0, len(cohort), most or len(cohort))
    ]
