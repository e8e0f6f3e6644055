"""Trainable parameters of a method, counted on live modules that hold no memory."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from rankprobe.backbone.shapes import skeleton
from rankprobe.prompts import build, config_class
from rankprobe.prompts.init import InitSources

BACKBONES = {"T5-Small": "t5-small", "T5-Base": "t5-base", "T5-Large": "t5-large"}
"""The paper's backbones (section 4.2)."""


def trainable_parameters(method: str, shape: str, prompt_length: int | None = None) -> int:
    """How many numbers `method` trains on a backbone of this shape (paper, Tables 1 and 4).

    Args:
        method: its name; all but the prompt length is at the method's defaults.
        shape: a name from `backbone.SHAPES`.
        prompt_length: n; unset: the method's default.
    """
    given = {} if prompt_length is None else {"prompt_length": prompt_length}
    config = config_class(method).parse({"name": method, **given})
    backbone = _skeleton(shape)
    d = backbone.config.d_model
    with torch.device("meta"):
        module = build(config, InitSources(torch.zeros(1, d), torch.zeros(0, d)), torch.Generator("cpu"))
        return sum(parameter.numel() for parameter in module.trainable(backbone).values())


@cache
def _skeleton(shape: str) -> Any:
    with torch.device("meta"):
        return skeleton(shape)
