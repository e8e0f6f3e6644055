"""What the gradients of a run look like, and what its twins get in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rankprobe.data.seeding import numpy_generator
from rankprobe.rank import NotConverged, gaussian_like, gram_singular_values, haar_like, with_norm
from rankprobe.twins import kind_and_draw

STATISTICS = ("grad_stable_rank", "grad_row_ratio", "grad_cosine")
"""Columns of the log about ∂L/∂P, (n, d): its stable rank, the largest over the median norm of its rows, and
its cosine with the gradient of the step before."""

BLOCK_TIMES = 3
"""Length of a block of the block-flip twin, in autocorrelation times."""

MAX_CORRELATION = 0.95
"""Largest autocorrelation that a block length is computed from."""

CLEAR = 5
"""The ratio of mean cosines at lags 2 and 1 is used if that at lag 1 is so many standard errors above 0."""


class Gradients:
    """Follows the gradients of a run, and makes those of its twins.

    The block-flip twin keeps a random sign for a block of steps: three times the autocorrelation time
    (1 + φ) / (1 − φ) of a first-order autoregression, with φ the `correlation` so far. A change of sign cuts
    the correlation between two blocks; with blocks of three times, sums of gradients with φ = 0.9 keep nine
    tenths of their spread.

    Attributes:
        norm: Frobenius norm of the last gradient.
    """

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        """
        Args:
            seed: of the run.
            names: of the twins, as `Twins.names`.
        """
        self.seed = seed
        self.names = tuple(names)
        self.norm = 0.0
        self._last: Float64[np.ndarray, "n d"] | None = None
        self._second_last: Float64[np.ndarray, "n d"] | None = None
        self._s: Float64[np.ndarray, " r"] = np.empty(0)
        self._cosines = {1: _Mean(), 2: _Mean()}
        self._sign, self._left = 1.0, 0

    @property
    def correlation(self) -> float:
        """The autocorrelation φ of the part of the gradients that is correlated, limited to 0 … 0.95.

        The mean cosine at lag k is w φᵏ, if a share w of the gradient follows a first-order autoregression
        and the rest is independent noise. So φ is the mean at lag 2 over that at lag 1, and not below the
        latter. Where the mean at lag 1 is not clearly above 0, the ratio says nothing, and φ is this mean.
        """
        first, second = self._cosines[1], self._cosines[2]
        estimates = [0.0, first.value]
        if second.count and first.value > CLEAR * first.error:
            estimates.append(second.value / first.value)
        return min(max(estimates), MAX_CORRELATION)

    @property
    def block_length(self) -> int:
        """Steps of a block that starts now."""
        return math.ceil(BLOCK_TIMES * (1 + self.correlation) / (1 - self.correlation))

    def note(self, gradient: Float64[np.ndarray, "n d"]) -> dict[str, float | None]:
        """Take the gradient of the next step, finite; returns the columns of `STATISTICS`."""
        before, second = self._last, self._second_last
        self._last, self._second_last, self.norm = gradient, before, float(np.linalg.norm(gradient))
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
            self._cosine(before, lag=1),
        ]
        self._cosine(second, lag=2)
        return dict(zip(STATISTICS, values, strict=True))

    def _cosine(self, before: Float64[np.ndarray, "n d"] | None, lag: int) -> float | None:
        scale = 0.0 if before is None else self.norm * float(np.linalg.norm(before))
        if before is None or self._last is None or not scale:
            return None
        cosine = float(np.vdot(before, self._last)) / scale
        self._cosines[lag].add(cosine)
        return cosine

    def signs(self, step: int, rows: int) -> Float[np.ndarray, " rows"] | None:
        """The random sign of each example of the batch of `step`; None without an example-flip twin."""
        if "flip-example" not in self.names:
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
        for kind, draw in map(kind_and_draw, self.names):
            rng = numpy_generator(self.seed, kind, step, draw)
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
        means = {
            f"cosines_{lag}": torch.tensor(astuple(mean), dtype=torch.float64)
            for lag, mean in self._cosines.items()
        }
        kept = {"last": self._last, "second_last": self._second_last}
        tensors = {name: torch.from_numpy(each) for name, each in kept.items() if each is not None}
        return {"block": torch.tensor([self._sign, self._left], dtype=torch.float64), **means, **tensors}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned.

        Checkpoints of earlier versions have `numbers` in place of `block` and of the means, and no gradient
        but the last: the means start anew.
        """
        kept = {
            name: tensors[name].double().cpu().numpy() for name in ("last", "second_last") if name in tensors
        }
        self._last, self._second_last = kept.get("last"), kept.get("second_last")
        block = tensors["block"] if "block" in tensors else tensors["numbers"][2:]
        self._sign, self._left = float(block[0]), int(block[1])
        for lag in self._cosines:
            if (name := f"cosines_{lag}") in tensors:
                self._cosines[lag] = _Mean(*tensors[name].tolist())


@dataclass
class _Mean:
    """The mean of numbers, which are added one by one, and its standard error."""

    total: float = 0.0
    squares: float = 0.0
    count: float = 0.0

    def add(self, number: float) -> None:
        self.total, self.squares, self.count = self.total + number, self.squares + number**2, self.count + 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def error(self) -> float:
        """Infinite for fewer than two numbers."""
        if self.count < 2:
            return math.inf
        variance = max(self.squares / self.count - self.value**2, 0.0) / (self.count - 1)
        return math.sqrt(variance)
