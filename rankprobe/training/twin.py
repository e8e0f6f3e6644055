"""Nulls that train along: prompts like the run's, updated with noise in place of its gradient."""

from __future__ import annotations

import torch

from rankprobe.data.seeding import numpy_generator
from rankprobe.errors import RunFailed
from rankprobe.prompts.base import Method
from rankprobe.rank import gaussian_like
from rankprobe.training.optimization import Optimization


class NoiseTwin:
    """The noise twin of a run: the same start, optimizer and schedule, and a Gaussian gradient.

    A twin that diverges is not updated any more; the run does not depend on it.

    Attributes:
        diverged: the step at which the twin diverged, or None.
        problem: what was not finite then.
    """

    def __init__(self, optimization: Optimization, seed: int) -> None:
        self.optimization = optimization.copy()
        self.seed = seed
        with torch.no_grad():
            self.shape = tuple(self.method().shape)
        self.diverged: int | None = None
        self.problem = ""

    def update(self, step: int, norm: float) -> None:
        """Apply update `step` with fresh Gaussian noise whose Frobenius norm is `norm`, that of ∂L/∂P."""
        if self.diverged is not None:
            return
        try:
            noise = gaussian_like(self.shape, norm, numpy_generator(self.seed, "twin", step))
            self.optimization.update_with(noise, step)
            with torch.no_grad():
                for name, tensor in {**self.optimization.trained, "P": self.method()}.items():
                    if not torch.isfinite(tensor).all():
                        raise RunFailed(f"{name} holds NaN or infinite entries")
        except RunFailed as error:
            self.diverge(step, str(error))

    @property
    def method(self) -> Method:
        return self.optimization.method

    def diverge(self, step: int, problem: str) -> None:
        """Mark the twin as diverged at `step`."""
        self.diverged, self.problem = step, problem
