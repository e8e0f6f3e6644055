"""What a reading is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gaussian_like(shape: tuple[int, ...], norm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A matrix of i.i.d. Gaussian entries, scaled to Frobenius norm `norm`.

    Fed to a noise twin in place of ∂L/∂P: as large as the real gradient, with no direction in it.
    """
    noise = rng.standard_normal(shape)
    return noise * (norm / np.linalg.norm(noise)) if noise.size else noise
