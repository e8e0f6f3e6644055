"""What a method is: a module that produces a soft prompt, and says which parameters it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankprobe.prompts.init import InitSources


class Method(nn.Module, ABC):
    """Produces the soft prompt P, (n, d). It never sees the text, the model or the loss.

    A new method is one final subclass in a file of its own, its config in `config.py` and one line in
    the registry. The loop, the recorder and the checkpoint read only what is declared here.
    """

    @classmethod
    @abstractmethod
    def create(cls, config: Any, sources: InitSources, generator: torch.Generator) -> Self:
        """Build the method in its initial state.

        Args:
            config: the method's own config class.
            sources: embeddings a prompt can start from; their width and dtype are those of the prompt.
            generator: the only source of randomness.
        """

    @abstractmethod
    def forward(self) -> Float[Tensor, "n d"]:
        """The soft prompt P. A method without a prompt returns a tensor of shape (0, d)."""

    def diagonal(self) -> Float[Tensor, " r"] | None:
        """The diagonal σ, whose signs are counted; None for methods without one."""
        return None

    def text_shift(self) -> Float[Tensor, "s d"] | None:
        """A shift of the embeddings of the first s text positions; None for most methods."""
        return None

    def penalty(self) -> Tensor | None:
        """A term of the loss, for the run and its twin; None for most methods."""
        return None

    def trainable(self, backbone: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters that training may change, by name: by default the method's own."""
        return dict(self.named_parameters())

    def rates(self) -> dict[str, float]:
        """Learning rates of parameters by name, relative to that of the run; 1 for other parameters."""
        return {}


def total_loss(losses: Sequence[Tensor], methods: Sequence[Method]) -> Tensor:
    """The number that one backward pass differentiates: all losses, and the penalties of the methods.

    Each method's prompt affects its own loss and penalty only, so each gets its own gradient.
    """
    penalties = [penalty for method in methods if (penalty := method.penalty()) is not None]
    return torch.stack([*losses, *penalties]).sum()
