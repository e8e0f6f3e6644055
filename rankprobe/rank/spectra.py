"""Singular values, the basis of every spectral measure."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from rankprobe.errors import RankprobeError


class NotConverged(RankprobeError):
    """LAPACK did not find the singular values of a finite matrix."""


Decomposition = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""U, s and Vᵀ of a singular value decomposition."""

FLOAT32_EPS = float(np.finfo(np.float32).eps)


def singular_values(matrix: ArrayLike) -> NDArray[np.float64]:
    """Singular values of a matrix or a stack (…, n, d), descending, in float64: (…, min(n, d)).

    Raises:
        RankprobeError: an entry is NaN or infinite.
        NotConverged: LAPACK does not find them.
    """
    m = checked(matrix)
    try:
        return np.asarray(np.linalg.svd(m, compute_uv=False), dtype=np.float64)
    except np.linalg.LinAlgError:
        values = [_decomposed(each)[1] for each in m.reshape(-1, *m.shape[-2:])]
        return np.reshape(values, (*m.shape[:-2], -1))


def decomposed(matrix: ArrayLike) -> Decomposition:
    """U (n, r), s (r,) and Vᵀ (r, d) of a matrix (n, d) with r = min(n, d), in float64.

    Raises:
        RankprobeError: an entry is NaN or infinite.
        NotConverged: LAPACK does not find them.
    """
    m = checked(matrix)
    try:
        return np.linalg.svd(m, full_matrices=False)
    except np.linalg.LinAlgError:
        return _decomposed(m)


def _decomposed(m: NDArray[np.float64]) -> Decomposition:
    """By QR iteration, which is slower than numpy's divide and conquer and converges where that may not."""
    try:
        U, s, Vt = scipy.linalg.svd(m, full_matrices=False, lapack_driver="gesvd")
    except np.linalg.LinAlgError:
        raise NotConverged(
            f"the singular values of a matrix of shape {m.shape} with entries up to {abs(m).max():.3g} were "
            "not found (LAPACK's gesdd and gesvd did not converge); try a lower --learning-rate"
        ) from None
    return U, s, Vt


def gram_singular_values(matrix: ArrayLike) -> NDArray[np.float64]:
    """The same from the eigenvalues of the smaller Gram matrix: several times faster, less accurate.

    Squaring costs accuracy: a value below sqrt(max(n, d) · ε) times the largest, ε that of float64 (4e-7
    for 100 x 768), drowns in rounding and is returned as 0. That is far under the tolerance of a float32
    prompt's numerical rank (9e-5), so it serves the log of every step; use `singular_values` where
    smaller values matter.

    Raises:
        RankprobeError: an entry is NaN or infinite.
        NotConverged: LAPACK does not find them.
    """
    m = checked(matrix)
    transposed = np.swapaxes(m, -1, -2)
    gram = m @ transposed if m.shape[-2] <= m.shape[-1] else transposed @ m
    try:
        energy = np.linalg.eigvalsh(gram)[..., ::-1]
    except np.linalg.LinAlgError:
        return singular_values(m)
    floor = energy[..., :1] * max(m.shape[-2:]) * np.finfo(np.float64).eps
    return np.sqrt(np.where(energy > floor, energy, 0.0))


def checked(matrix: ArrayLike) -> NDArray[np.float64]:
    """A matrix or a stack of them in float64.

    Raises:
        RankprobeError: a vector or a number, or an entry is NaN or infinite.
    """
    m = np.asarray(matrix, dtype=np.float64)
    if m.ndim < 2:
        raise RankprobeError(f"expected a matrix (n, d) or a stack of them, got shape {m.shape}")
    if not np.isfinite(m).all():
        raise RankprobeError(
            f"a matrix of shape {m.shape} holds NaN or infinite entries; its rank is undefined"
        )
    return m
