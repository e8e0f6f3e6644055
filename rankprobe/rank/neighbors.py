"""Which words a prompt token lies nearest to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from rankprobe.errors import RankprobeError


def nearest(
    P: NDArray[np.generic], words: NDArray[np.generic], count: int, metric: str = "cosine"
) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
    """The rows of `words` (pieces, d) nearest to each row of P (n, d), nearest first.

    Source: Lester et al. (2021), section 7, who use cosine.

    Returns:
        Row numbers (n, count), and cosine similarities or Euclidean distances (n, count).

    Raises:
        RankprobeError: another metric, different widths, or fewer words than `count`.
    """
    if metric not in ("cosine", "euclidean"):
        raise RankprobeError(f"metric is '{metric}'; expected cosine or euclidean")
    if P.shape[1] != words.shape[1] or not 0 < count <= len(words):
        raise RankprobeError(
            f"{count} nearest of {len(words)} words of width {words.shape[1]} for a prompt of width "
            f"{P.shape[1]}; expected the same width, and 1 to {len(words)} words"
        )
    P, words = P.astype(np.float64), words.astype(np.float64)
    left, right = P.astype(np.float64), words.astype(np.float64)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):  # a row of zeros is near to nothing
            left, right = (np.nan_to_num(X / np.linalg.norm(X, axis=1, keepdims=True)) for X in (left, right))
        values = left @ right.T
    else:
        values = cdist(left, right)
    order = np.argsort(-values if metric == "cosine" else values, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(values, order, axis=1)
