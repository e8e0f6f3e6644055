"""Rank measures, each a function of singular values `s` (…, k), descending, and of the shape (n, d).

Peers use one name for two things, so each measure here has one name and one formula. A matrix of zeros
has measure 0 under all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rankprobe.rank.spectra import FLOAT32_EPS, singular_values

Values = NDArray[np.float64]


def numerical_rank_rtol(shape: tuple[int, int]) -> float:
    """Relative tolerance of `numerical_rank`: max(n, d) · ε of float32, in which prompts are stored."""
    return max(shape) * FLOAT32_EPS


def numerical_rank(s: Values, shape: tuple[int, int]) -> Values:
    """#{i : s_i > s_1 · max(n, d) · ε}, ε that of float32.

    Source: numpy's and LAPACK's convention for the rank of a float32 matrix.
    """
    return (s > _largest(s) * numerical_rank_rtol(shape)).sum(-1).astype(float)


def erank_rv(s: Values, shape: tuple[int, int]) -> Values:
    """Effective rank exp(H(p)) with p_i = s_i / Σ s, H in nats: between 1 and min(n, d).

    Source: Roy and Vetterli (2007), "The effective rank", equation 4. On s, not on s².
    """
    p = _ratio(s, s.sum(-1, keepdims=True))
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.where(_largest(s)[..., 0] > 0, np.exp(-(p * log_p).sum(-1)), 0.0)


def stable_rank(s: Values, shape: tuple[int, int]) -> Values:
    """‖P‖²_F / s_1² = Σ s² / s_1²: at least 1, at most the rank.

    Source: Rudelson and Vershynin (2007); also Martin and Mahoney (arXiv 1810.01075).
    """
    return (_ratio(s, _largest(s)) ** 2).sum(-1)


MEASURES: dict[str, Callable[[Values, tuple[int, int]], Values]] = {
    "numerical_rank": numerical_rank,
    "erank_rv": erank_rv,
    "stable_rank": stable_rank,
}


def measure(matrix: ArrayLike) -> pd.Series:
    """Every measure of one matrix (n, d), by name.

    >>> import numpy as np
    >>> measure(np.diag([2.0, 1.0, 1.0])).round(2).to_dict()
    {'numerical_rank': 3.0, 'erank_rv': 2.83, 'stable_rank': 1.5}

    Raises:
        RankprobeError: not a matrix, or an entry is NaN or infinite.
    """
    s = singular_values(matrix)
    shape = np.shape(matrix)[-2:]
    return pd.Series({name: float(function(s, shape)) for name, function in MEASURES.items()})


def _largest(s: Values) -> Values:
    return s[..., :1] if s.shape[-1] else np.zeros((*s.shape[:-1], 1))


def _ratio(s: Values, by: Values) -> Values:
    return np.divide(s, by, out=np.zeros_like(s), where=by > 0)
