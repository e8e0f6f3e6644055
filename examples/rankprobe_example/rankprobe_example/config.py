"""The settings of the method. This module imports no torch, so that `rankprobe --help` stays quick."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from rankprobe.prompts import StartConfig


class GainConfig(StartConfig):
    """P = diag(g) · P0, one trained number per prompt token."""

    method_class: ClassVar[str] = "rankprobe_example.method:Gain"

    name: Literal["gain"] = "gain"
    gain_start: PositiveFloat = Field(default=1.0, description="Initial gain of each prompt token")
