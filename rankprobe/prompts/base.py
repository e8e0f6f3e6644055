"""What a method is: a module that produces a soft prompt, and says which parameters it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn

from rankprobe.prompts.init import Words


class Method(nn.Module, ABC):
    """Produces the soft prompt P of shape (n, d). It never sees the text, the model or the loss.

    A new method is one final subclass in a file of its own, its config in `config.py` and one line in
    the registry. The loop, the recorder and the checkpoint read only what is declared here.
    """

    @classmethod
    @abstractmethod
    def create(cls, config: Any, words: Words, generator: torch.Generator) -> Self:
        """Build the method in its initial state.

        Args:
            config: the method's own config class.
            words: embeddings a prompt can start from; their width and dtype are those of the prompt.
            generator: the only source of randomness.
        """

    @abstractmethod
    def forward(self) -> Tensor:
        """The soft prompt P, (n, d). A method without a prompt returns (0, d)."""

    def text_shift(self) -> Tensor | None:
        """What is added to the embeddings of the first s text positions, (s, d); None for most methods."""
        return None

    def penalty(self) -> Tensor | None:
        """A number to add to the loss, of run and twin alike; None for most methods."""
        return None

    def trainable(self, backbone: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters that training may change, by name: by default the method's own."""
        return dict(self.named_parameters())

    def rates(self) -> dict[str, float]:
        """Learning rates of single parameters, as shares of the run's; 1 for those that are not named."""
        return {}
