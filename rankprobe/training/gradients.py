"""What the gradients of a run look like, and what its twins get in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rankprobe.data.seeding import numpy_generator
from rankprobe.rank import NotConverged, gaussian_like, gram_singular_values, haar_like, with_norm

STATISTICS = ("grad_stable_rank", "grad_row_ratio", "grad_cosine")
"""Columns of the log about ∂L/∂P, (n, d): its stable rank, the largest over the median norm of its rows, and
its cosine with the gradient of the step before."""

BLOCK_TIMES = 3
"""Length of a block of the block-flip twin, in autocorrelation times."""

MAX_CORRELATION = 0.95
"""Largest autocorrelation that a block length is computed from."""


class Gradients:
    """Follows the gradients of a run, and makes those of its twins.

    The block-flip twin keeps a random sign for a block of steps: three times the autocorrelation time
    (1 + ρ) / (1 − ρ) of a first-order autoregression, with ρ the mean cosine of successive gradients so far.
    A change of sign cuts the correlation between two blocks; with blocks of three times, sums of gradients
    with ρ = 0.9 keep nine tenths of their spread.

    Attributes:
        norm: Frobenius norm of the last gradient.
        correlation: mean cosine of successive gradients so far, limited to 0 … 0.95.
    """

    def __init__(self, seed: int, kinds: Sequence[str]) -> None:
        self.seed = seed
        self.kinds = tuple(kinds)
        self.norm = 0.0
        self._last: Float64[np.ndarray, "n d"] | None = None
        self._s: Float64[np.ndarray, " r"] = np.empty(0)
        self._cosines, self._count = 0.0, 0
        self._sign, self._left = 1.0, 0

    @property
    def correlation(self) -> float:
        return min(max(self._cosines / self._count if self._count else 0.0, 0.0), MAX_CORRELATION)

    @property
    def block_length(self) -> int:
        """Steps of a block that starts now."""
        return math.ceil(BLOCK_TIMES * (1 + self.correlation) / (1 - self.correlation))

    def note(self, gradient: Float64[np.ndarray, "n d"]) -> dict[str, float | None]:
        """Take the gradient of the next step, finite; returns the columns of `STATISTICS`."""
        before, self._last, self.norm = self._last, gradient, float(np.linalg.norm(gradient))
        try:
            self._s = gram_singular_values(gradient)
            largest = float(self._s[0])
        except NotConverged:  # the Haar twin keeps the shape of the spectrum before; the first one is flat
            shape = self._s if self._s.size else np.ones(min(gradient.shape))
            self._s, largest = with_norm(shape, self.norm), 0.0
        rows = np.linalg.norm(gradient, axis=1)
        values = [
            self.norm**2 / largest**2 if largest > 0 else None,
            float(rows.max() / np.median(rows)) if np.median(rows) > 0 else None,
            self._cosine(before),
        ]
        return dict(zip(STATISTICS, values, strict=True))

    def _cosine(self, before: Float64[np.ndarray, "n d"] | None) -> float | None:
        scale = 0.0 if before is None else self.norm * float(np.linalg.norm(before))
        if before is None or self._last is None or not scale:
            return None
        cosine = float(np.vdot(before, self._last)) / scale
        self._cosines, self._count = self._cosines + cosine, self._count + 1
        return cosine

    def signs(self, step: int, rows: int) -> Float[np.ndarray, " rows"] | None:
        """The random sign of each example of the batch of `step`; None without an example-flip twin."""
        if "flip-example" not in self.kinds:
            return None
        return numpy_generator(self.seed, "flip-example", step).choice([-1.0, 1.0], rows)

    def of_twins(self, step: int, flipped: Tensor | None) -> Float[Tensor, "T n d"]:
        """The gradient of each twin at `step`, with the norm of the gradient that was noted last.

        Args:
            step: the update.
            flipped: Σ εᵢ gᵢ over the examples of the batch, (n, d), for an example-flip twin.
        """
        assert self._last is not None
        made = []
        for kind in self.kinds:
            rng = numpy_generator(self.seed, kind, step)
            if kind == "gaussian":
                made.append(gaussian_like(self._last.shape, self.norm, rng))
            elif kind == "haar":
                made.append(haar_like(self._s, (self._last.shape[0], self._last.shape[1]), rng))
            elif kind == "flip-example":
                assert flipped is not None
                made.append(with_norm(flipped.detach().cpu().double().numpy(), self.norm))
            else:
                made.append(self._block_sign(rng) * self._last)
        return torch.from_numpy(np.stack(made))

    def _block_sign(self, rng: np.random.Generator) -> float:
        if not self._left:
            self._sign, self._left = float(rng.choice([-1.0, 1.0])), self.block_length
        self._left -= 1
        return self._sign

    def state(self) -> dict[str, Tensor]:
        """What a resume needs, by name."""
        numbers = [self._cosines, self._count, self._sign, self._left]
        tensors = {"numbers": torch.tensor(numbers, dtype=torch.float64)}
        return tensors if self._last is None else tensors | {"last": torch.from_numpy(self._last)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        if "last" in tensors:
            self._last = tensors["last"].double().cpu().numpy()
        self._cosines, count, self._sign, left = tensors["numbers"].tolist()
        self._count, self._left = int(count), int(left)
