"""Trainable parameters of a method, counted on the live module."""

from __future__ import annotations

import torch
from torch import nn

from rankprobe.prompts import build, config_class
from rankprobe.prompts.init import Words

WIDTHS = {"T5-Small": 512, "T5-Base": 768, "T5-Large": 1024}
"""d of the paper's backbones (section 4.2)."""


def trainable_parameters(method: str, width: int, prompt_length: int = 100) -> int:
    """How many numbers `method` trains at its defaults on a backbone of this width (paper, Table 1)."""
    config = config_class(method)(name=method, prompt_length=prompt_length)
    words = Words(torch.zeros(1, width), torch.zeros(0, width))
    module = build(config, words, torch.Generator())
    return sum(p.numel() for p in module.trainable(nn.Module()).values())
