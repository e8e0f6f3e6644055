"""Truncated prompts, which keep only some singular directions, and the smallest sufficient rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from rankprobe.rank.spectra import finite_matrix, svd

KEEP_CHOICES = ("top", "bottom", "random")
"""Which k singular directions are kept: the largest, the smallest, or random ones."""


def truncated(
    matrix: ArrayLike, ks: Sequence[int], keep: str, seed: int = 0
) -> Float64[np.ndarray, "ks n d"]:
    """Return a copy of a matrix for each k, with only k of its singular directions.

    `top` gives the best approximations of rank k (Eckart and Young 1936). At k = min(n, d) the copy is the
    matrix itself, without rounding. Random directions are nested: a larger k adds directions to those of a
    smaller k.

    Args:
        matrix: (n, d).
        ks: the numbers of directions to keep, 0 to min(n, d).
        keep: one of `KEEP_CHOICES`.
        seed: seed of the random order.
    """
    m = finite_matrix(matrix)
    U, s, Vt = svd(m)
    order = np.arange(len(s))
    if keep == "bottom":
        order = order[::-1]
    elif keep == "random":
        order = np.random.default_rng(seed).permutation(len(s))
    kept = [order[:k] for k in ks]
    return np.stack([m if len(at) == len(s) else (U[:, at] * s[at]) @ Vt[at] for at in kept])


def log_spaced_ks(max_k: int, count: int) -> list[int]:
    """Return about `count` values of k from 0 to `max_k`, with logarithmic spacing.

    >>> log_spaced_ks(100, 12)
    [0, 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100]
    """
    spaced = np.geomspace(1, max(max_k, 1), max(count - 1, 2)).round().astype(int)
    return sorted({0, *spaced.tolist(), max_k})


def least_sufficient_k(
    ks: Sequence[float], scores: ArrayLike, *, full: ArrayLike, floor: ArrayLike, share: float
) -> Float64[np.ndarray, "*batch"]:
    """Return the least k such that k and every larger value keep `share` of the gain of `full` over `floor`.

    For truncation curves this is the functional rank, with the baseline score as `floor` and a share of 0.95.
    For random subspaces of dimension k it is d90 of Li et al. (2018), section 2, with the score of
    unrestricted training as `full`, a floor of 0 and a share of 0.9.

    Args:
        ks: ascending.
        scores: (*batch, len(ks)).
        full: (*batch), the score without restriction.
        floor: (*batch) or one number, the score without training.
        share: 0 to 1.

    Returns:
        NaN where `full` is not above `floor`, or no k is sufficient.
    """
    values, best, low = (np.asarray(array, dtype=np.float64) for array in (scores, full, floor))
    # Scores are means of many numbers, so equal scores may differ in the last bit.
    required = low + share * (best - low) - 1e-9
    sufficient = np.minimum.accumulate((values >= required[..., None])[..., ::-1], axis=-1)[..., ::-1]
    least = np.asarray(ks, dtype=np.float64)[sufficient.argmax(-1)]
    return np.where(sufficient[..., -1] & (best > low), least, np.nan)
