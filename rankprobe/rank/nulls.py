"""Nulls: random matrices of the same size, but without structure, to compare a reading with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from rankprobe.rank.spectra import gram_singular_values

SHUFFLES = 20
"""The number of shuffled copies for `permutation_edge`."""

QUANTILE = 0.95
"""The quantile of their largest singular values."""


def gaussian_like(
    shape: tuple[int, ...], norm: float, rng: np.random.Generator
) -> Float64[np.ndarray, "*shape"]:
    """Draw i.i.d. Gaussian entries and scale them to the Frobenius norm `norm`.

    A noise twin gets this matrix in place of ∂L/∂P: it has the norm of the real gradient and a random
    direction.
    """
    noise = rng.standard_normal(shape)
    return noise * (norm / np.linalg.norm(noise)) if noise.size else noise


def shuffled(matrix: ArrayLike, count: int, seed: int = 0) -> Float64[np.ndarray, "{count} n d"]:
    """Return `count` copies of a matrix (n, d), each with its entries in random order.

    A copy has the same entries, so the same norm and outliers, but no structure of rows or columns.
    Source: after `randomize` of WeightWatcher.
    """
    m = np.asarray(matrix, dtype=np.float64)
    return m.ravel()[_permutations(m.size, count, seed)].reshape(count, *m.shape)


@lru_cache(maxsize=4)
def _permutations(size: int, count: int, seed: int) -> Int[np.ndarray, "{count} {size}"]:
    """Draw `count` permutations of `size` entries; cached, because this is the slowest step of a null."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(size) for _ in range(count)])


def permutation_edge(matrix: ArrayLike, seed: int = 0) -> float:
    """Return the 95 % quantile of the largest singular value over 20 shuffled copies of a matrix (n, d)."""
    if not np.size(matrix):
        return 0.0
    return float(np.quantile(gram_singular_values(shuffled(matrix, SHUFFLES, seed))[:, 0], QUANTILE))
