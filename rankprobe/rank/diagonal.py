"""The paper's own reading: signs on the probe's diagonal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def sign_counts(sigma: ArrayLike) -> dict[str, int]:
    """How many entries of σ (r,) are positive, negative and exactly zero (paper, section 2.2)."""
    signs = np.sign(np.asarray(sigma))
    return {
        "n_positive": int((signs > 0).sum()),
        "n_negative": int((signs < 0).sum()),
        "n_zero": int((signs == 0).sum()),
    }


def revived(before: ArrayLike, after: ArrayLike) -> int:
    """How many entries of σ became positive between two steps, having been at or below zero.

    Under the ReLU a dead entry gets no gradient, so only momentum can revive one.
    """
    return int(((np.asarray(before) <= 0) & (np.asarray(after) > 0)).sum())
