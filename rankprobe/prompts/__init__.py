"""What is trained: one file per method. `base` defines a method, `init` the initial prompts.

`METHODS` is the registry. A method's module is imported when it is first built, so that listing
methods and reading configs needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rankprobe.errors import unknown
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

METHODS: dict[str, tuple[type[MethodConfig], str]] = {
    "probe": (ProbeConfig, "probe:Probe"),
    "dpt": (DPTConfig, "dpt:DPT"),
    "vanilla": (VanillaConfig, "vanilla:Vanilla"),
    "residual": (ResidualConfig, "residual:Residual"),
    "ulpt": (ULPTConfig, "ulpt:ULPT"),
    "subspace": (SubspaceConfig, "subspace:Subspace"),
    "dept": (DePTConfig, "dept:DePT"),
    "finetune": (FinetuneConfig, "finetune:Finetune"),
}

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
    """The module class of a method, imported on first use."""
    config_class(name)
    module, _, attribute = METHODS[name][1].partition(":")
    return getattr(import_module(f"rankprobe.prompts.{module}"), attribute)


def build(config: MethodConfig, sources: InitSources, generator: torch.Generator) -> Method:
    """The method that `config` names, in its initial state; see `Method.create`."""
    return method_class(config.name).create(config, sources, generator)
