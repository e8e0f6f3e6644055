"""The words that are nearest to the tokens of a prompt in embedding space."""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float, Int, Num

from rankprobe.errors import RankprobeError


def nearest(
    P: Num[np.ndarray, "n d"], words: Num[np.ndarray, "V d_words"], count: int, metric: str = "cosine"
) -> tuple[Int[np.ndarray, "n {count}"], Float[np.ndarray, "n {count}"]]:
    """Find the rows of `words` that are nearest to each row of P, nearest first.

    Source: Lester et al. (2021), section 7, who use cosine.

    Returns:
        Row numbers, and cosine similarities or Euclidean distances.

    Raises:
        RankprobeError: `metric` is unknown, P and `words` have different widths, or `words` has fewer than
            `count` rows.
    """
    if metric not in ("cosine", "euclidean"):
        raise RankprobeError(f"metric is '{metric}'; expected cosine or euclidean")
    if P.shape[1] != words.shape[1]:
        raise RankprobeError(
            f"the prompt has width {P.shape[1]}, but the words have width {words.shape[1]}; "
            "expected the same width"
        )
    if not 0 < count <= len(words):
        raise RankprobeError(f"{count} nearest of {len(words)} words; expected 1 to {len(words)}")
    left, right = P.astype(np.float64), words.astype(np.float64)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):  # a row of zeros gets similarity 0 to all words
            left, right = (np.nan_to_num(X / np.linalg.norm(X, axis=1, keepdims=True)) for X in (left, right))
        values = left @ right.T
    else:
        values = scipy.spatial.distance.cdist(left, right)
    order = np.argsort(-values if metric == "cosine" else values, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(values, order, axis=1)
