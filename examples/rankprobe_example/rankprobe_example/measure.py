"""The measure."""

from __future__ import annotations

import numpy as np


def top_share(s: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The share of the largest singular value, s_1 / Σ s: between 1 / min(n, d) and 1; 0 for a zero matrix.

    Args:
        s: singular values, descending, of one matrix (r,) or of several (m, r).
        shape: (n, d) of the matrix.
    """
    total = s.sum(-1)
    return np.divide(s[..., 0], total, out=np.zeros_like(total), where=total > 0)
