"""Full fine-tuning: the case without a prompt."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.prompts.base import Method
from rankprobe.prompts.config import FinetuneConfig
from rankprobe.prompts.init import InitSources


@final
class Finetune(Method):
    """Trains every weight of the backbone, and no prompt: the paper's upper bound.

    One run at a time: its backbone is its own. The weights are kept in the run folder, as factors.
    """

    empty: Tensor

    def __init__(self, empty: Tensor) -> None:
        super().__init__()
        self.register_buffer("empty", empty)

    @classmethod
    def create(cls, config: FinetuneConfig, sources: InitSources, generator: torch.Generator) -> Self:
        return cls(sources.vocabulary[:0])

    def forward(self) -> Float[Tensor, "n d"]:
        return self.empty

    def trainable(self, backbone: nn.Module) -> dict[str, nn.Parameter]:
        return dict(backbone.named_parameters())
