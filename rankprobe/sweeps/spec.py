"""A sweep written down: what varies, with which seeds, at which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field

from rankprobe.errors import RankprobeError, unknown
from rankprobe.settings import Settings, flatten, read_toml
from rankprobe.training.config import RunConfig


class Spec(Settings):
    """An experiment: one TOML file.

    Settings have the names of the flags. A list is an axis, anything else a fixed value; the runs of a grid
    are all combinations of its axes. What is more particular wins: a `[[grid]]` over its `[scale.…]`, both
    over `[settings]`.
    """

    title: str
    source: str = Field(default="ours", description="What it repeats: paper, section, figure")
    draws: list[str] = Field(default=[], description="Figures and tables made from these runs")
    truncate: bool = Field(default=False, description="Cut each prompt, as rankprobe truncate does")
    settings: dict[str, Any] = Field(default={}, description="What all runs share")
    grid: list[dict[str, Any]] = Field(default=[{}], description="Sets of combinations")
    scale: dict[str, dict[str, Any]] = Field(default={}, description="Settings of each scale")


def load_spec(path: str | Path) -> Spec:
    """The experiment in a TOML file.

    Raises:
        RankprobeError: it cannot be read, is no TOML, or has an unknown key.
    """
    keys = read_toml(Path(path), "experiment")
    try:
        return Spec.parse(keys)
    except RankprobeError as error:
        raise RankprobeError(f"experiment '{path}': {error}") from None


def chosen_scale(spec: Spec, scale: str | None) -> str:
    """`scale`, or where none is asked for `bundled`, or the only one there is; "" without scales.

    Raises:
        RankprobeError: the experiment has no such scale, or several and none of them is `bundled`.
    """
    if scale is not None and scale not in spec.scale:
        raise unknown("scale", scale, spec.scale)
    if scale is not None or not spec.scale:
        return scale or ""
    if "bundled" in spec.scale or len(spec.scale) == 1:
        return "bundled" if "bundled" in spec.scale else next(iter(spec.scale))
    raise RankprobeError(f"'{spec.title}' has the scales {', '.join(spec.scale)}; choose one with --scale")


def configs_of(
    spec: Spec, scale: str | None = None, overrides: Mapping[str, Any] | None = None
) -> list[RunConfig]:
    """Every run of an experiment, each once, in the order of its grids.

    Args:
        spec: the experiment.
        scale: one of its scales; unset: see `chosen_scale`.
        overrides: settings that win over everything in the file.

    Raises:
        RankprobeError: an unknown scale or setting, a value out of range, or an axis that changes no result.
    """
    named = chosen_scale(spec, scale)
    shared = spec.settings | spec.scale.get(named, {})
    configs = [config for each in spec.grid for config in grid(shared | each | dict(overrides or {}))]
    distinct: dict[str, RunConfig] = {}
    for config in configs:
        same = flatten(distinct.setdefault(config.run_id, config).tree())
        for name, value in flatten(config.tree()).items():
            if same[name] != value:
                raise RankprobeError(
                    f"{name} is {same[name]!r} and {value!r} for run '{config.run_id}', and changes no "
                    "result; give one value"
                )
    return list(distinct.values())


def grid(settings: Mapping[str, Any], axes: Mapping[str, Sequence[Any]] | None = None) -> list[RunConfig]:
    """A config for each combination of the axes: those settings that are lists, and `axes`.

    Raises:
        RankprobeError: an unknown setting, a value out of range, or an axis without values.
    """
    every = {
        name: [*value] if isinstance(value, (list, tuple)) else [value] for name, value in settings.items()
    }
    every |= {name: list(values) for name, values in (axes or {}).items()}
    for name, values in every.items():
        if not values:
            raise RankprobeError(f"{name} = [] has no values; give one or more")
    return [
        RunConfig.from_flat(dict(zip(every, combination, strict=True)))
        for combination in product(*every.values())
    ]
