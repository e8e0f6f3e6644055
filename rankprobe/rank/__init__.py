"""What is measured: pure functions on matrices and singular values, in float64. No torch, no I/O."""

from rankprobe.rank.diagonal import revived, sign_counts
from rankprobe.rank.measures import (
    MEASURES,
    erank_rv,
    measure,
    numerical_rank,
    numerical_rank_rtol,
    stable_rank,
)
from rankprobe.rank.neighbors import nearest
from rankprobe.rank.nulls import gaussian_like
from rankprobe.rank.spectra import gram_singular_values, singular_values

__all__ = [
    "MEASURES",
    "erank_rv",
    "gaussian_like",
    "gram_singular_values",
    "measure",
    "nearest",
    "numerical_rank",
    "numerical_rank_rtol",
    "revived",
    "sign_counts",
    "singular_values",
    "stable_rank",
]
