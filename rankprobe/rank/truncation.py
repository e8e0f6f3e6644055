"""Parts of a prompt: what is left of it when singular directions are taken away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rankprobe.rank.spectra import checked, decomposed

KEPT = ("top", "bottom", "random")
"""Which k singular directions are kept: the largest, the smallest, or some drawn at random."""


def parts(matrix: ArrayLike, ks: Sequence[int], keep: str, seed: int = 0) -> NDArray[np.float64]:
    """For each k a copy of a matrix (n, d) with k of its singular directions: (len(ks), n, d).

    `top` gives the best approximations of rank k (Eckart and Young 1936). At k = min(n, d) the copy is the
    matrix itself, not a product that equals it up to rounding. Random directions are nested: those of a
    smaller k are among those of a larger.

    Args:
        matrix: (n, d).
        ks: how many directions are kept, 0 to min(n, d).
        keep: one of `KEPT`.
        seed: of the random order.
    """
    m = checked(matrix)
    U, s, Vt = decomposed(m)
    order = np.arange(len(s))
    if keep == "bottom":
        order = order[::-1]
    elif keep == "random":
        order = np.random.default_rng(seed).permutation(len(s))
    chosen = [order[:k] for k in ks]
    return np.stack([m if len(each) == len(s) else (U[:, each] * s[each]) @ Vt[each] for each in chosen])


def steps_to(most: int, count: int) -> list[int]:
    """About `count` values of k from 0 to `most`, closer together where they are small.

    >>> steps_to(100, 12)
    [0, 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100]
    """
    spread = np.geomspace(1, max(most, 1), max(count - 1, 2)).round().astype(int)
    return sorted({0, *spread.tolist(), most})


def least_enough(
    ks: Sequence[float], scores: ArrayLike, *, full: ArrayLike, floor: ArrayLike, share: float
) -> NDArray[np.float64]:
    """The least k from which on every score keeps `share` of the gain of `full` over `floor`.

    With truncation curves, the majority score as floor and a share of 0.95 it is the functional rank; with
    random subspaces of dimension k, the score of free training as `full`, a floor of 0 and a share of 0.9
    it is d90 of Li et al. (2018), section 2.

    Args:
        ks: ascending.
        scores: (…, len(ks)).
        full: (…), the score without restriction.
        floor: (…) or one number, the score without any training.
        share: 0 to 1.

    Returns:
        (…), NaN where `full` is no higher than `floor`, or no k is enough.
    """
    values, best, low = (np.asarray(each, dtype=np.float64) for each in (scores, full, floor))
    # Scores are means of many numbers, so equal ones may differ in the last bit.
    wanted = low + share * (best - low) - 1e-9
    enough = np.minimum.accumulate((values >= wanted[..., None])[..., ::-1], axis=-1)[..., ::-1]
    found = np.asarray(ks, dtype=np.float64)[enough.argmax(-1)]
    return np.where(enough[..., -1] & (best > low), found, np.nan)
