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
    up to the first that is not above) sees more of many strong directions, but counts noise with weak ones: a
    signal makes the singular values of the copies more equal, so one direction in noise with unequal rows is
    counted several times. A count that is too small is the smaller error here.

    The null is independent entries with symmetric distributions; their variances may differ. On that null
    the count is above 0 in about 2 of 21 draws, because 20 copies are few. Measured with 200 draws each, with
    nothing planted (`python benchmarks/edges.py`):

    - Gaussian (100, 768): mean 0.10, at most 1 in all draws;
    - Gaussian with lognormal row scales (σ = 0.7): mean 0.13, at most 1 in all draws. `permutation_edge` has
      a mean of 13.1 there, `gavish_donoho` of 24.6;
    - initial rows from the vocabulary of the backbone `tiny` (100, 128): 1 in all draws. This is the mean
      row, a direction that the rows do share;
    - U · V, the start of the probe: mean 18.4 (100, 768) or 6.6 (100, 128), never at most 1. Entries of a
      product are not independent, so the null does not hold. Compare such a prompt with its P0.

    With k equal singular values planted in the lognormal noise, of 1.5 times its largest one, the count is k
    for k = 1, 3, 10 and 20 (20 draws each). For k = 50 it is 5: the copies keep the energy of the signal, so
    the edge rises with it. Even without noise, s_k counts only if it is above about (√n + √d) / √(n d) of the
    norm ‖P‖_F (14 % for 100 x 768), or more if rows differ in size. So a count is a lower bound where one
    large row or a few large directions dominate; for the former, compare P with P_rows.
    """
    if not np.size(matrix):
        return 0.0
    return edge_of_flips(gram_singular_values(signflipped(matrix, FLIPS, seed)))


def edge_of_flips(spectra: Float64[np.ndarray, "copies r"]) -> float:
    """Return the edge from the singular values of the sign-flipped copies.

    It is a billionth above their quantile. Some matrices have the same singular values with any signs, such
    as one row or a diagonal; with this margin, rounding does not decide their count, which is 0.
    """
    return float(np.quantile(spectra[:, 0], QUANTILE)) * (1 + ROUNDING)
