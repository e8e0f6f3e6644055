"""Nulls: random matrices of the same size, but without structure, to compare a reading with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.linalg
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
    """Draw independent Gaussian entries and scale them to the Frobenius norm `norm`.

    The Gaussian twin gets this matrix in place of ∂L/∂P: it has the norm of the real gradient and a random
    direction.
    """
    return with_norm(rng.standard_normal(shape), norm)


def haar_like(
    s: Float64[np.ndarray, " r"], shape: tuple[int, int], rng: np.random.Generator
) -> Float64[np.ndarray, "n d"]:
    """Return a matrix (n, d) with singular values `s` and random singular vectors, r = min(n, d).

    The vectors are Haar-distributed: uniform among orthonormal ones. They are the Q of the QR decomposition
    of a Gaussian matrix, with the signs that make the diagonal of R positive (Mezzadri 2007, "How to generate
    random matrices from the classical compact groups").
    """
    left, right = (_orthonormal(size, len(s), rng) for size in shape)
    return (left * s) @ right.T


def _orthonormal(size: int, count: int, rng: np.random.Generator) -> Float64[np.ndarray, "size count"]:
    Z = rng.standard_normal((size, count))
    if size < 2 * count:
        Q, R = np.linalg.qr(Z)
        return Q * np.where(np.diagonal(R) < 0, -1.0, 1.0)
    # The same Q several times faster: ZᵀZ = RᵀR. A tall Z is well conditioned, so its square is too.
    L = np.linalg.cholesky(Z.T @ Z)
    return scipy.linalg.solve_triangular(L, Z.T, lower=True, check_finite=False).T


def with_norm(matrix: Float64[np.ndarray, " ..."], norm: float) -> Float64[np.ndarray, " ..."]:
    """Scale a matrix to the Frobenius norm `norm`; a matrix of zeros stays zero."""
    own = np.linalg.norm(matrix)
    return matrix * (norm / own) if own else matrix


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
    """Return the 95 % quantile of the largest singular value over 20 shuffled copies of a matrix (n, d).

    With so few copies, the largest singular value of noise exceeds this edge in about 2 of 21 matrices.
    """
    if not np.size(matrix):
        return 0.0
    return float(np.quantile(gram_singular_values(shuffled(matrix, SHUFFLES, seed))[:, 0], QUANTILE))
