"""The sign-flip null: the entries of a matrix with random signs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import ArrayLike

from rankprobe.rank.nulls import QUANTILE
from rankprobe.rank.spectra import gram_singular_values

FLIPS = 20
"""The number of sign-flipped copies for `signflip_edge`."""

ROUNDING = 1e-9
"""Relative margin of `signflip_edge` above the rounding of singular values."""


def signflipped(matrix: ArrayLike, count: int, seed: int = 0) -> Float64[np.ndarray, "{count} n d"]:
    """Return `count` copies of a matrix (n, d), with an independent random sign for each entry.

    A copy keeps the size of each entry, so also the norm of each row and column, but no direction that rows
    or columns share. The same seed gives the same signs for all matrices of one shape.
    Source: Hong, Sheng and Dobriban (2020), arXiv 2012.02985.
    """
    m = np.asarray(matrix, dtype=np.float64)
    return m * _signs(m.shape, count, seed)


@lru_cache(maxsize=4)
def _signs(shape: tuple[int, ...], count: int, seed: int) -> Int8[np.ndarray, "{count} n d"]:
    bits = np.random.default_rng(seed).integers(0, 2, (count, *shape), dtype=np.int8)
    return 2 * bits - 1


def signflip_edge(matrix: ArrayLike, seed: int = 0) -> float:
    """Return the 95 % quantile of the largest singular value over 20 sign-flipped copies of a matrix (n, d).

    The measure `signflip_edge` is the number of singular values above it. Source: signflip parallel analysis,
    Hong, Sheng and Dobriban (2020), arXiv 2012.02985, with the "upper-edge" comparison: each s_k is compared
    with the largest singular value of the copies. The "pairwise" comparison (with their k-th singular value,
    up to the first that is not above) reads too many: a large direction makes the later singular values of
    the copies more equal, and noise with lognormal rows plus one direction at its edge reads 5.

    The null is independent entries with symmetric distributions; their variances may differ. Count on
    matrices without a planted signal, 200 draws each (`python benchmarks/edges.py`):

    ==================================================  =========  ======  =======  ================
    matrix                                              shape      mean    maximum  at most 1 (in %)
    ==================================================  =========  ======  =======  ================
    Gaussian
    Gaussian, lognormal row scales (σ = 0.7)
    vocabulary rows of the backbone `tiny`
    U · V of the probe's start (defaults)
    ==================================================  =========  ======  =======  ================
    """
    if not np.size(matrix):
        return 0.0
    return edge_of_flips(gram_singular_values(signflipped(matrix, FLIPS, seed)))


def edge_of_flips(spectra: Float64[np.ndarray, "copies r"]) -> float:
    """Return the edge from the singular values of the sign-flipped copies.

    It is a billionth above their quantile. Some matrices have the same singular values with any signs, such as
    one row or a diagonal; with this margin, rounding does not decide their count, which is 0.
    """
    return float(np.quantile(spectra[:, 0], QUANTILE)) * (1 + ROUNDING)
