"""Experiments: TOML files with the settings that vary, the seeds, and the scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field

from rankprobe.config.pins import pinned
from rankprobe.config.run import RunConfig, all_settings
from rankprobe.errors import RankprobeError, unknown
from rankprobe.settings import Settings, read_toml


class Spec(Settings):
    """An experiment, read from one TOML file.

    Settings have the names of the flags. A setting with a list of values is an axis; every other setting is
    fixed. The runs of a grid are all combinations of its axes. Values in a `[[grid]]` override those in the
    `[scale.…]`, which override those in `[settings]`.
    """

    title: str
    source: str = Field(default="ours", description="What it reproduces: paper, section, figure")
    draws: list[str] = Field(default=[], description="The figures and tables that use these runs")
    truncate: bool = Field(default=False, description="Truncate each trained prompt: rankprobe truncate")
    settings: dict[str, Any] = Field(default={}, description="Settings of all runs")
    grid: list[dict[str, Any]] = Field(default=[{}], description="Grids: all combinations of their axes")
    scale: dict[str, dict[str, Any]] = Field(default={}, description="Settings of each scale")


def load_spec(path: str | Path) -> Spec:
    """Read an experiment from a TOML file.

    Raises:
        RankprobeError: the file cannot be read, is not TOML, or has an unknown key.
    """
    keys = read_toml(Path(path), "experiment")
    if stray := [name for name in keys if name in all_settings() and name not in Spec.model_fields]:
        raise RankprobeError(f"experiment '{path}': '{stray[0]}' is a setting; put settings under [settings]")
    try:
        return Spec.parse(keys)
    except RankprobeError as error:
        raise RankprobeError(f"experiment '{path}': {error}") from None


def chosen_scale(spec: Spec, scale: str | None) -> str:
    """Return the name of the scale: `scale` if given, else `bundled`, else the experiment's only scale.

    An experiment without scales gives "".

    Raises:
        RankprobeError: the experiment does not have this scale, or `scale` is None and the experiment has
            several scales without `bundled` among them.
    """
    if scale is not None:
        if not spec.scale:
            raise RankprobeError(f"'{spec.title}' has no scales; leave out --scale")
        if scale not in spec.scale:
            raise unknown("scale", scale, spec.scale)
        return scale
    if len(spec.scale) > 1 and "bundled" not in spec.scale:
        scales = ", ".join(spec.scale)
        raise RankprobeError(f"'{spec.title}' has the scales {scales}; choose one with --scale")
    return "bundled" if "bundled" in spec.scale else next(iter(spec.scale), "")


def configs_of(
    spec: Spec, scale: str | None = None, overrides: Mapping[str, Any] | None = None
) -> list[RunConfig]:
    """Return the configs of all runs of an experiment, without duplicates, in the order of its grids.

    Args:
        spec: the experiment.
        scale: one of its scales; unset: see `chosen_scale`.
        overrides: settings that override the file.

    Raises:
        RankprobeError: a scale or setting is unknown, a value is out of range, or an axis changes no result.
    """
    shared = spec.settings | spec.scale.get(chosen_scale(spec, scale), {})
    configs = [config for axes in spec.grid for config in grid(shared | axes | dict(overrides or {}))]
    distinct: dict[str, RunConfig] = {}
    for config in configs:
        same = distinct.setdefault(config.run_id, config).flat()
        for name, value in config.flat().items():
            if same[name] != value:
                raise RankprobeError(
                    f"{name} is {same[name]!r} and {value!r} for run '{config.run_id}', but does not change "
                    "the result; give one value"
                )
    return list(distinct.values())


def grid(settings: Mapping[str, Any], axes: Mapping[str, Sequence[Any]] | None = None) -> list[RunConfig]:
    """Return a config for each combination of the axes.

    Args:
        settings: fixed settings; those with a list of values are axes.
        axes: further axes.

    Raises:
        RankprobeError: a setting is unknown, a value is out of range, or an axis has no values.
    """
    values_of = {
        name: [*value] if isinstance(value, (list, tuple)) else [value] for name, value in settings.items()
    }
    values_of |= {name: list(values) for name, values in (axes or {}).items()}
    for name, values in values_of.items():
        if not values:
            raise RankprobeError(f"{name} = [] has no values; give one or more")
    return [
        pinned(RunConfig.parse(dict(zip(values_of, combination, strict=True))))
        for combination in product(*values_of.values())
    ]
