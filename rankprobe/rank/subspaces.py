"""Compares the directions of embedding space that two prompts use."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float64, Num
from numpy.typing import ArrayLike
from scipy.linalg import subspace_angles

from rankprobe.errors import RankprobeError
from rankprobe.rank.spectra import finite_matrix, svd


def directions(matrix: ArrayLike, k: int) -> Float64[np.ndarray, "{k} d"]:
    """Return the first k right singular vectors of a matrix (n, d), an orthonormal basis.

    Raises:
        RankprobeError: fewer than k singular values are above zero.
    """
    m = finite_matrix(matrix)
    _, s, Vt = svd(m)
    rank = int((s > s[:1].sum() * max(m.shape) * np.finfo(np.float64).eps).sum())
    if not 0 < k <= rank:
        raise RankprobeError(f"{k} directions of a matrix {m.shape} of rank {rank}; expected 1 to {rank}")
    return Vt[:k]


def phi(one: ArrayLike, other: ArrayLike, i: int, j: int) -> float:
    """Return ‖V_i V_j'ᵀ‖²_F / min(i, j), the overlap (0 to 1) of two leading subspaces.

    V_i are the first i directions of `one` (n, d), V_j' the first j directions of `other` (n', d). The
    overlap is 1 if the larger subspace contains the smaller one.
    Source: Hu et al. (2022), "LoRA", section 7.2, equation 4. Differs: they compare the left factors of two
    weight updates; here, the directions of two prompts in embedding space.
    """
    overlap = directions(one, i) @ directions(other, j).T
    return float(np.square(overlap).sum() / min(i, j))


def phi_random(i: int, j: int, d: int) -> float:
    """Return max(i, j) / d, the mean of `phi` for random subspaces of dimensions i and j in d dimensions."""
    return max(i, j) / d


def principal_angles(one: ArrayLike, other: ArrayLike, k: int) -> Float64[np.ndarray, " {k}"]:
    """Return the k principal angles between the first k directions of two matrices, in degrees, ascending.

    Source: Björck and Golub (1973), by `scipy.linalg.subspace_angles`.
    """
    angles = subspace_angles(directions(one, k).T, directions(other, k).T)
    return np.degrees(np.asarray(angles, dtype=np.float64))[::-1]


def similarities(matrices: dict[str, Num[np.ndarray, "_n _d"]], k: int) -> pd.DataFrame:
    """Compare the first k directions of each pair of matrices (n, d) of the same width d.

    Returns:
        One row per pair: `one`, `other`, `k`, `phi`, `phi_random` (the random baseline), `least_angle` and
        `median_angle` in degrees.

    Raises:
        RankprobeError: the widths differ, or a matrix has fewer than k directions.
    """
    widths = {name: np.shape(matrix)[-1] for name, matrix in matrices.items()}
    if len(set(widths.values())) > 1:
        raise RankprobeError(f"the matrices have different widths: {widths}; compare prompts of one model")
    rows = []
    for one, other in combinations(matrices, 2):
        angles = principal_angles(matrices[one], matrices[other], k)
        rows.append(
            {
                "one": one,
                "other": other,
                "k": k,
                "phi": phi(matrices[one], matrices[other], k, k),
                "phi_random": phi_random(k, k, widths[one]),
                "least_angle": float(angles[0]),
                "median_angle": float(np.median(angles)),
            }
        )
    return pd.DataFrame(rows)
