"""Singular values, in float64; all spectral measures are computed from them."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float64
from numpy.typing import ArrayLike

from rankprobe.errors import RankprobeError


class NotConverged(RankprobeError):
    """LAPACK did not find the singular values of a finite matrix."""


SVD = tuple[Float64[np.ndarray, "n r"], Float64[np.ndarray, " r"], Float64[np.ndarray, "r d"]]
"""U, s and Vᵀ of a singular value decomposition, with r = min(n, d)."""

FLOAT32_EPS = float(np.finfo(np.float32).eps)


def singular_values(matrix: ArrayLike) -> Float64[np.ndarray, "*batch r"]:
    """Return the singular values of a matrix (n, d) or a stack (*batch, n, d), descending; r = min(n, d).

    Raises:
        RankprobeError: `matrix` has less than two axes, or an entry is NaN or infinite.
        NotConverged: LAPACK does not find the singular values.
    """
    m = finite_matrix(matrix)
    try:
        return np.asarray(np.linalg.svd(m, compute_uv=False), dtype=np.float64)
    except np.linalg.LinAlgError:
        values = [_svd_by_qr(single)[1] for single in m.reshape(-1, *m.shape[-2:])]
        return np.reshape(values, (*m.shape[:-2], -1))


def svd(matrix: ArrayLike) -> SVD:
    """Return U, s and Vᵀ of a matrix (n, d).

    Raises:
        RankprobeError: `matrix` has less than two axes, or an entry is NaN or infinite.
        NotConverged: LAPACK does not find the singular values.
    """
    m = finite_matrix(matrix)
    try:
        return np.linalg.svd(m, full_matrices=False)
    except np.linalg.LinAlgError:
        return _svd_by_qr(m)


def _svd_by_qr(m: Float64[np.ndarray, "n d"]) -> SVD:
    """Compute the decomposition by QR iteration.

    It is slower than numpy's divide and conquer, but also converges for some matrices where that fails.
    """
    try:
        U, s, Vt = scipy.linalg.svd(m, full_matrices=False, lapack_driver="gesvd")
    except np.linalg.LinAlgError:
        raise NotConverged(
            f"the singular values of a matrix of shape {m.shape} with entries up to {abs(m).max():.3g} were "
            "not found (LAPACK's gesdd and gesvd did not converge); try a lower --learning-rate"
        ) from None
    return U, s, Vt


def gram_singular_values(matrix: ArrayLike) -> Float64[np.ndarray, "*batch r"]:
    """Return the singular values as `singular_values` does, several times faster and less accurate.

    They are the square roots of the eigenvalues of the smaller Gram matrix. A value below sqrt(max(n, d) · ε)
    times the largest, with ε of float64 (4e-7 for 100 x 768), is lost in rounding and returned as 0. This is
    far below the tolerance of the numerical rank of a float32 prompt (9e-5), so the log of every step uses
    this function. Use `singular_values` if smaller values matter.

    Raises:
        RankprobeError: `matrix` has less than two axes, or an entry is NaN or infinite.
        NotConverged: LAPACK does not find the singular values.
    """
    m = finite_matrix(matrix)
    transposed = np.swapaxes(m, -1, -2)
    gram = m @ transposed if m.shape[-2] <= m.shape[-1] else transposed @ m
    try:
        energy = np.linalg.eigvalsh(gram)[..., ::-1]
    except np.linalg.LinAlgError:
        return singular_values(m)
    floor = energy[..., :1] * max(m.shape[-2:]) * np.finfo(np.float64).eps
    return np.sqrt(np.where(energy > floor, energy, 0.0))


def finite_matrix(matrix: ArrayLike) -> Float64[np.ndarray, "*batch n d"]:
    """Convert a matrix or a stack of matrices to float64.

    Raises:
        RankprobeError: `matrix` has less than two axes, or an entry is NaN or infinite.
    """
    m = np.asarray(matrix, dtype=np.float64)
    if m.ndim < 2:
        raise RankprobeError(f"expected a matrix (n, d) or a stack of them, got shape {m.shape}")
    if not np.isfinite(m).all():
        raise RankprobeError(
            f"a matrix of shape {m.shape} holds NaN or infinite entries; its rank is undefined"
        )
    return m
