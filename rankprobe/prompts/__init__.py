"""What is trained: one file per method. `base` defines a method, `init` the initial prompts.

`METHODS` is the registry, to which plugins add. A method's module is imported when it is first built, so that
listing methods and reading configs needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rankprobe.errors import RankprobeError, first_line, unknown
from rankprobe.plugins import Registry
from rankprobe.prompts.config import (
    DePTConfig,
    DPTConfig,
    FinetuneConfig,
    MethodConfig,
    ProbeConfig,
    ResidualConfig,
    StartConfig,
    SubspaceConfig,
    ULPTConfig,
    VanillaConfig,
)

if TYPE_CHECKING:
    import torch

    from rankprobe.prompts.base import Method
    from rankprobe.prompts.init import InitSources


def _from_plugin(
    name: str, config: Any, methods: Mapping[str, tuple[type[MethodConfig], str]]
) -> tuple[type[MethodConfig], str]:
    """The entry of `METHODS` for the config class of a plugin.

    Raises:
        RankprobeError: it is not a config class, or lacks what `--help` and `rankprobe methods` show.
    """
    if not isinstance(config, type) or not issubclass(config, MethodConfig):
        raise RankprobeError("expected a subclass of rankprobe.prompts.MethodConfig")
    if config.model_fields["name"].default != name:
        raise RankprobeError(f"its config needs the field name: Literal['{name}'] = '{name}'")
    if ":" not in config.method_class:
        raise RankprobeError("its config needs method_class, such as 'package.module:Class'")
    if not config.__doc__:
        raise RankprobeError("its config needs a docstring, which `rankprobe methods` shows")
    for setting, field in config.model_fields.items():
        if setting != "name" and not field.description:
            raise RankprobeError(f"its setting {setting} needs a description, which --help shows")
        for other, (theirs, _) in methods.items():
            same = theirs.model_fields.get(setting, field).annotation == field.annotation
            if setting not in ("name", "prompt_length") and not same:
                raise RankprobeError(f"method '{other}' has a setting {setting} of another type")
    return config, config.method_class


METHODS: Registry[tuple[type[MethodConfig], str]] = Registry(
    "method",
    {
        "probe": (ProbeConfig, "rankprobe.prompts.probe:Probe"),
        "dpt": (DPTConfig, "rankprobe.prompts.dpt:DPT"),
        "vanilla": (VanillaConfig, "rankprobe.prompts.vanilla:Vanilla"),
        "residual": (ResidualConfig, "rankprobe.prompts.residual:Residual"),
        "ulpt": (ULPTConfig, "rankprobe.prompts.ulpt:ULPT"),
        "subspace": (SubspaceConfig, "rankprobe.prompts.subspace:Subspace"),
        "dept": (DePTConfig, "rankprobe.prompts.dept:DePT"),
        "finetune": (FinetuneConfig, "rankprobe.prompts.finetune:Finetune"),
    },
    _from_plugin,
)

__all__ = ["METHODS", "MethodConfig", "StartConfig", "build", "config_class", "method_class"]


def config_class(name: str) -> type[MethodConfig]:
    """The config class of a method.

    Raises:
        RankprobeError: no such method (the nearest one is named).
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name][0]


def method_class(name: str) -> type[Method]:
    """The module class of a method, imported on first use.

    Raises:
        RankprobeError: no such method, or the module of a plugin cannot be imported.
    """
    config_class(name)
    module, _, attribute = METHODS[name][1].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        if name in METHODS.own:
            raise
        raise RankprobeError(
            f"method '{name}' of a plugin cannot be imported ({type(error).__name__}: {first_line(error)}); "
            "update its package, or uninstall it"
        ) from error


def build(config: MethodConfig, sources: InitSources, generator: torch.Generator) -> Method:
    """The method that `config` names, in its initial state; see `Method.create`."""
    return method_class(config.name).create(config, sources, generator)
