"""The reproducible rank: the number of singular directions in which independent trainings agree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from rankprobe.errors import RankprobeError
from rankprobe.rank.signflip import FLIPS, edge_of_flips, signflipped
from rankprobe.rank.spectra import finite_matrix, gram_singular_values, singular_values, svd


def cv_gain(replicates: ArrayLike) -> Float64[np.ndarray, " k"]:
    """Return how much better k directions of one replicate predict another one than zero does, by k.

    For replicates a and b with the singular value decomposition a = Σ sᵢ uᵢ vᵢᵀ, the gain is
    ‖b‖² − ‖b − a_k‖² = Σ_{i≤k} (2 sᵢ cᵢ − sᵢ²), with cᵢ = uᵢᵀ b vᵢ and a_k the best approximation of rank k
    of a. The result is the mean over all ordered pairs of replicates, relative to the mean of their ‖b‖².

    Args:
        replicates: two or more matrices of one shape, (replicates, n, d). For runs, their ΔP: runs from one
            start share P0, so P agrees even without training.

    Returns:
        min(n, d) + 1 gains, for k = 0, 1, …; 0 at k = 0, and 1 for a perfect prediction.

    Raises:
        RankprobeError: fewer than two matrices, or an entry is NaN or infinite.
    """
    stack = _replicates(replicates)
    total = np.zeros(min(stack.shape[1:]))
    for a in stack:
        U, s, Vt = svd(a)
        others = (stack.sum(axis=0) - a) / (len(stack) - 1)  # the gain is linear in b
        c = np.einsum("nr,nd,rd->r", U, others, Vt)
        total += 2 * s * c - s**2
    energy = np.square(stack).sum()
    return np.concatenate([[0.0], np.cumsum(total)]) / (energy or 1.0)


def cv_rank(replicates: ArrayLike) -> int:
    """Return the cross-validated rank: the k at which k directions of a replicate predict another one best.

    It is the least k with the largest `cv_gain`. Direction i adds to the gain if cᵢ > sᵢ / 2: if more than
    half of it is found again in the other replicate. So the rank needs no noise model, and it sees ranks up
    to min(n, d). It is 0 for independent noise.

    Source: written for this package. The idea, to choose a rank by the error of predicting held-out data, is
    that of Owen and Perry (2009), arXiv 0908.2062, who hold out rows and columns of one matrix. Here a whole
    second training is held out.

    **It misses** directions of which less than half is found again, however many the replicates share: weak
    ones next to strong ones, and all where the noise is strong. With anisotropic noise it counted up to three
    too many (`studies.grid`). It also counts everything that replicates share, such as a drift that any
    labels cause: compare it with that of replicates on shuffled labels.

    >>> import numpy as np
    >>> signal, rng = np.diag([5.0, 4.0, 0, 0, 0, 0]), np.random.default_rng(0)
    >>> cv_rank([signal + 0.5 * rng.standard_normal((6, 6)) for _ in range(2)])
    2

    Arguments and errors: as `cv_gain`.
    """
    gain = cv_gain(replicates)
    return int((gain >= gain.max() - 1e-12).argmax())


def replicate_edge(replicates: ArrayLike, seed: int = 0) -> int:
    """Return how many singular values of the mean of two replicates exceed what their difference explains.

    With replicates a = X + E and b = X + F, and noise E, F independent with symmetric entries, the mean
    (a + b) / 2 has the noise (E + F) / 2, and the half difference (a − b) / 2 has noise of the same law and
    no X. The edge is the 95 % quantile of the largest singular value over 20 copies of the half difference
    with random signs. Source: signflip parallel analysis, Hong, Sheng and Dobriban (2020), arXiv 2012.02985,
    with the half difference in the place of the matrix, so that a strong X does not raise the edge. On
    Gaussian noise alone (30 x 40) the count is above 0 in 16 % of 600 draws, and never above 2.

    **It fails** where noise entries are not independent of each other: random signs destroy their correlation
    and the edge is too low. A direction is counted only if it exceeds the largest noise direction, so many
    weak directions are missed, which `cv_rank` finds if they are more than half signal.

    Args:
        replicates: two matrices of one shape, (2, n, d).
        seed: of the signs.

    Raises:
        RankprobeError: not two matrices, or an entry is NaN or infinite.
    """
    stack = _replicates(replicates)
    if len(stack) != 2:
        raise RankprobeError(f"{len(stack)} replicates; the edge needs a pair")
    half_difference = (stack[0] - stack[1]) / 2
    edge = edge_of_flips(gram_singular_values(signflipped(half_difference, FLIPS, seed)))
    mean = singular_values(stack.mean(axis=0))
    rounding = 1e-9 * mean[:1]
    return int((mean > np.maximum(edge, rounding)).sum())


def _replicates(replicates: ArrayLike) -> Float64[np.ndarray, "replicates n d"]:
    try:
        stack = finite_matrix(replicates)
    except ValueError:
        raise RankprobeError("replicates differ in shape; expected matrices (n, d) of one shape") from None
    if stack.ndim != 3 or len(stack) < 2 or not stack.size:
        raise RankprobeError(f"expected two or more matrices (n, d) of one shape, got shape {stack.shape}")
    return stack
