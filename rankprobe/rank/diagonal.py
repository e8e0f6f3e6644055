"""The reading of the paper: the signs of the entries on the probe's diagonal σ."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def sign_counts(sigma: ArrayLike) -> dict[str, int]:
    """Count the positive, negative and exactly zero entries of σ, of shape (r,) (paper, section 2.2)."""
    signs = np.sign(np.asarray(sigma))
    return {
        "n_positive": int((signs > 0).sum()),
        "n_negative": int((signs < 0).sum()),
        "n_zero": int((signs == 0).sum()),
    }


def revived(before: ArrayLike, after: ArrayLike) -> int:
    """Count the entries of σ that were at or below zero at one step and are positive at the next.

    The ReLU gives such an entry no gradient, so only momentum can make it positive again.
    """
    return int(((np.asarray(before) <= 0) & (np.asarray(after) > 0)).sum())
