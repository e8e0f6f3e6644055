"""Do two prompts use the same directions of the embedding space?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import subspace_angles

from rankprobe.errors import RankprobeError
from rankprobe.rank.spectra import checked, decomposed

Directions = NDArray[np.float64]


def directions(matrix: ArrayLike, k: int) -> Directions:
    """The first k right singular vectors of a matrix (n, d), an orthonormal basis (k, d).

    Raises:
        RankprobeError: fewer than k singular values are above zero.
    """
    m = checked(matrix)
    _, s, Vt = decomposed(m)
    rank = int((s > s[:1].sum() * max(m.shape) * np.finfo(np.float64).eps).sum())
    if not 0 < k <= rank:
        raise RankprobeError(f"{k} directions of a matrix {m.shape} of rank {rank}; expected 1 to {rank}")
    return Vt[:k]


def phi(one: ArrayLike, other: ArrayLike, i: int, j: int) -> float:
    """‖V_i V_j'ᵀ‖²_F / min(i, j): how much of the smaller of two leading subspaces lies in the other, 0 to 1.

    Source: Hu et al. (2022), "LoRA", section 7.2, equation 4; there between the left factors of two updates,
    here between the directions in embedding space of two prompts.
    """
    overlap = directions(one, i) @ directions(other, j).T
    return float(np.square(overlap).sum() / min(i, j))


def phi_random(i: int, j: int, d: int) -> float:
    """What `phi` is on average for random subspaces of dimensions i and j in d: max(i, j) / d."""
    return max(i, j) / d


def principal_angles(one: ArrayLike, other: ArrayLike, k: int) -> NDArray[np.float64]:
    """The k principal angles between the first k directions of two matrices, in degrees, ascending.

    Source: Björck and Golub (1973), by `scipy.linalg.subspace_angles`.
    """
    angles = subspace_angles(directions(one, k).T, directions(other, k).T)
    return np.degrees(np.asarray(angles, dtype=np.float64))[::-1]


def similarities(matrices: dict[str, NDArray[np.generic]], k: int) -> pd.DataFrame:
    """`phi` of the first k directions of each pair of matrices of one width, beside the random baseline.

    Returns:
        A row per pair: `one`, `other`, `k`, `phi`, `phi_random`, and the least and the median angle.

    Raises:
        RankprobeError: the widths differ, or a matrix has fewer than k directions.
    """
    widths = {name: np.shape(each)[-1] for name, each in matrices.items()}
    if len(set(widths.values())) > 1:
        raise RankprobeError(f"the matrices have different widths: {widths}; compare prompts of one model")
    rows = []
    names = list(matrices)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
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
