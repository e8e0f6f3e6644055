"""What a reading is held against."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rankprobe.rank.spectra import gram_singular_values

SHUFFLES = 20
"""Shuffled copies behind `permutation_edge`."""

QUANTILE = 0.95
"""Of their largest singular values."""


def gaussian_like(shape: tuple[int, ...], norm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A matrix of i.i.d. Gaussian entries, scaled to Frobenius norm `norm`.

    Fed to a noise twin in place of ∂L/∂P: as large as the real gradient, with no direction in it.
    """
    noise = rng.standard_normal(shape)
    return noise * (norm / np.linalg.norm(noise)) if noise.size else noise


def shuffled(matrix: ArrayLike, count: int, seed: int = 0) -> NDArray[np.float64]:
    """`count` copies of a matrix (n, d), the entries of each in random order: (count, n, d).

    They have its entries, so its norm and its outliers, and nothing that aligns rows or columns.
    Source: the idea of WeightWatcher's `randomize`.
    """
    m = np.asarray(matrix, dtype=np.float64)
    return m.ravel()[_orders(m.size, count, seed)].reshape(count, *m.shape)


@lru_cache(maxsize=4)
def _orders(size: int, count: int, seed: int) -> NDArray[np.intp]:
    """`count` random orders of `size` entries; drawing them takes longer than all that follows."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(size) for _ in range(count)])


def permutation_edge(matrix: ArrayLike, seed: int = 0) -> float:
    """The 95 % quantile of the largest singular value over 20 shuffled copies of a matrix (n, d)."""
    if not np.size(matrix):
        return 0.0
    return float(np.quantile(gram_singular_values(shuffled(matrix, SHUFFLES, seed))[:, 0], QUANTILE))
