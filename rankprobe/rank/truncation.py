"""Truncated prompts, which keep only some singular directions, and the smallest sufficient rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike

from rankprobe.rank.spectra import finite_matrix, svd

KEEP_CHOICES = ("top", "bottom", "random")
"""Which k singular directions are kept: the first in the order, the last, or random ones."""

ORDER_CHOICES = ("singular", "sensitivity")
"""The order of the singular directions: largest singular value first, or most sensitive first."""


def truncated(
    matrix: ArrayLike,
    ks: Sequence[int],
    keep: str,
    seed: int = 0,
    importance: Float[np.ndarray, " r"] | None = None,
) -> Float64[np.ndarray, "ks n d"]:
    """Return a copy of a matrix for each k, with only k of its singular directions.

    Without `importance`, `top` gives the best approximations of rank k (Eckart and Young 1936). At
    k = min(n, d) the copy is the matrix itself, without rounding. Random directions are nested: a larger k
    adds directions to those of a smaller k.

    Args:
        matrix: (n, d).
        ks: the numbers of directions to keep, 0 to min(n, d).
        keep: one of `KEEP_CHOICES`.
        seed: seed of the random order.
        importance: a number for each direction, by descending singular value, such as `sensitivities`. The
            most important direction comes first. Unset: the order of the singular values.
    """
    m = finite_matrix(matrix)
    U, s, Vt = svd(m)
    order = np.arange(len(s)) if importance is None else np.argsort(-importance, kind="stable")
    if keep == "bottom":
        order = order[::-1]
    elif keep == "random":
        order = np.random.default_rng(seed).permutation(len(s))
    kept = [order[:k] for k in ks]
    return np.stack([m if len(at) == len(s) else (U[:, at] * s[at]) @ Vt[at] for at in kept])


def sensitivities(matrix: ArrayLike, gradient: ArrayLike) -> Float64[np.ndarray, " r"]:
    """Return s_i · |u_iᵀ G v_i| for each singular direction: how much the loss changes without it.

    This is the change to first order, as G is the gradient of the loss at the matrix. Source: the criterion
    of Molchanov et al. (2017), equation 7, with a singular direction in the place of a feature map.

    Args:
        matrix: (n, d), with the singular values s and the directions u, v.
        gradient: G, (n, d).

    Returns:
        r = min(n, d) numbers, by descending singular value.
    """
    U, s, Vt = svd(finite_matrix(matrix))
    return s * np.abs(np.einsum("nr,nd,rd->r", U, finite_matrix(gradient), Vt))


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
    return sufficient_bracket(ks, scores, full=full, floor=floor, share=share)[1]


def sufficient_bracket(
    ks: Sequence[float], scores: ArrayLike, *, full: ArrayLike, floor: ArrayLike, share: float
) -> tuple[Float64[np.ndarray, "*batch"], Float64[np.ndarray, "*batch"]]:
    """Return `below` and `least`: the least sufficient k of a curve at all k is in (below, least].

    That is true if no k between two values of `ks` is insufficient above `least`. `least` is as in
    `least_sufficient_k`, with the same arguments, and `below` is the next smaller value of `ks`, which is not
    sufficient; -1 if the smallest value is sufficient. If `below` is `least` - 1, the result is exact.
    """
    values, best, low = (np.asarray(array, dtype=np.float64) for array in (scores, full, floor))
    # Scores are means of many numbers, so equal scores may differ in the last bit.
    required = low + share * (best - low) - 1e-9
    sufficient = np.minimum.accumulate((values >= required[..., None])[..., ::-1], axis=-1)[..., ::-1]
    at, padded = sufficient.argmax(-1), np.array([-1, *ks], dtype=np.float64)
    defined = sufficient[..., -1] & (best > low)
    return np.where(defined, padded[at], np.nan), np.where(defined, padded[at + 1], np.nan)


def bisected_curve(
    score: Callable[[list[int]], Sequence[float]],
    grid: Sequence[int],
    *,
    floor: float,
    shares: Sequence[float],
    checks: int,
    extra: int,
) -> dict[int, float]:
    """Score the k of a grid, and more k in between, until the first share has an exact least sufficient k.

    The next k is the middle of the bracket (below, least] of `sufficient_bracket`. It either is sufficient,
    as are all measured larger k, and becomes `least`; or it is not, and becomes `below`. So about log2 of the
    width of the bracket are scored. Then `checks` k look for a fall below the level: each is the middle of
    the widest gap above `least`. If it is not sufficient, there is a new bracket, which is halved too. At
    last the brackets of the other shares are halved in their order, while fewer than `extra` k are added.

    Args:
        score: returns the scores of some k.
        grid: ascending; the last is the whole matrix, with the full score.
        floor: the score without training.
        shares: one or more, of the gain of the full score over `floor`.
        checks: how many k beyond `least` are scored.
        extra: how many k beyond the grid are scored at least, if a bracket of another share is open.

    Returns:
        The score of each measured k, by ascending k.
    """
    curve, n_checked = dict(zip(grid, score(list(grid)), strict=True)), 0
    while True:
        ks = sorted(curve)
        values = [curve[k] for k in ks]
        (below, least), *others = (
            sufficient_bracket(ks, values, full=values[-1], floor=floor, share=share) for share in shares
        )
        gaps = [(b - a, a) for a, b in pairwise(ks) if a >= least and b - a > 1]
        middles = [int(low + high) // 2 for low, high in others if high - low > 1]
        if least - below > 1:
            k = int(below + least) // 2
        elif gaps and n_checked < checks:
            width, start = max(gaps)
            k, n_checked = start + width // 2, n_checked + 1
        elif middles and len(curve) - len(grid) < extra:
            k = middles[0]
        else:
            return dict(zip(ks, values, strict=True))
        curve[k] = score([k])[0]
