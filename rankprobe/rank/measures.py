"""Rank measures, each a function of singular values `s` (…, k), descending, and of the shape (n, d).

Peers use one name for two things, so each measure here has one name and one formula; where a formula
changes, so does the name. A matrix of zeros has measure 0 under all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.optimize import brentq

from rankprobe.rank.nulls import permutation_edge
from rankprobe.rank.spectra import FLOAT32_EPS, singular_values

Values = NDArray[np.float64]

RELATIVE = 0.01
"""The threshold of `rank_rtol_1e2`, as a share of s_1."""


def numerical_rank_rtol(shape: tuple[int, int]) -> float:
    """Relative tolerance of `numerical_rank`: max(n, d) · ε of float32, in which prompts are stored."""
    return max(shape) * FLOAT32_EPS


def numerical_rank(s: Values, shape: tuple[int, int]) -> Values:
    """#{i : s_i > s_1 · max(n, d) · ε}, ε that of float32.

    Source: numpy's and LAPACK's convention for the rank of a float32 matrix.
    """
    return (s > _largest(s) * numerical_rank_rtol(shape)).sum(-1).astype(float)


def rank_rtol_1e2(s: Values, shape: tuple[int, int]) -> Values:
    """#{i : s_i > 0.01 · s_1}, the ε-rank.

    Source: the `rtol` of `matrix_rank` in numpy and the array API standard.
    """
    return (s > RELATIVE * _largest(s)).sum(-1).astype(float)


def erank_rv(s: Values, shape: tuple[int, int]) -> Values:
    """Effective rank exp(H(p)) with p_i = s_i / Σ s, H in nats: between 1 and min(n, d).

    Source: Roy and Vetterli (2007), "The effective rank", equation 4. On s, not on s².
    """
    return _exp_entropy(s)


def erank_energy(s: Values, shape: tuple[int, int]) -> Values:
    """exp(H(p)) with p_i = s_i² / Σ s²: the same on energy, at most `erank_rv`.

    Source: WeightWatcher's `entropy` (Martin and Mahoney, arXiv 1810.01075) is H divided by log(rank).
    """
    return _exp_entropy(_energy(s))


def stable_rank(s: Values, shape: tuple[int, int]) -> Values:
    """‖P‖²_F / s_1² = Σ s² / s_1²: at least 1, at most the rank.

    Source: Rudelson and Vershynin (2007); also Martin and Mahoney (arXiv 1810.01075).
    """
    return _energy(s).sum(-1)


def participation_ratio(s: Values, shape: tuple[int, int]) -> Values:
    """(Σ λ)² / Σ λ² with λ = s².

    Source: scikit-dimension's `lPCA(ver="participation_ratio")`. WeightWatcher's measure of that name is
    another: a ratio of vector norms.
    """
    energy = _energy(s)
    return np.square(_ratio(energy.sum(-1), np.sqrt(np.square(energy).sum(-1))))


def energy_rank(s: Values, shape: tuple[int, int], share: float) -> Values:
    """The least k with Σ_{i≤k} s_i² ≥ share · Σ s². Source: as in principal component analysis."""
    energy = np.cumsum(_energy(s), axis=-1)
    if not energy.shape[-1]:
        return np.zeros(energy.shape[:-1])
    enough = energy >= share * energy[..., -1:] * (1 - 1e-12)
    return np.where(energy[..., -1] > 0, enough.argmax(-1) + 1.0, 0.0)


def nuclear_spectral(s: Values, shape: tuple[int, int]) -> Values:
    """‖P‖_* / ‖P‖_2 = Σ s / s_1: between `stable_rank` and the rank."""
    return _ratio(s, _largest(s)).sum(-1)


def gavish_donoho(s: Values, shape: tuple[int, int]) -> Values:
    """#{i : s_i > ω(β) · median(s)}: what stands out of white noise of unknown size, β = n / d ≤ 1.

    ω(β) = λ(β) / √μ(β), with μ the median of the Marchenko–Pastur law, by quadrature. Differs: a matrix whose
    rank is under half of min(n, d) has no noise but that of rounding, which is not counted as rank.
    Source: Gavish and Donoho (2014), IEEE Transactions on Information Theory 60(8), equations 3, 5 and 10.
    """
    if not s.shape[-1]:
        return np.zeros(s.shape[:-1])
    threshold = _hard_threshold(min(shape) / max(shape)) * np.median(s, axis=-1, keepdims=True)
    rounding = _largest(s) * numerical_rank_rtol(shape)
    return (s > np.maximum(threshold, rounding)).sum(-1).astype(float)


def mp_edge(s: Values, shape: tuple[int, int]) -> Values:
    """#{i : s_i > v (√n + √d)} with v² = ‖P‖²_F / (n d): beyond the edge of a white matrix as large as P.

    Source: Marchenko and Pastur (1967); for weights Martin and Mahoney (arXiv 1810.01075), who fit v.
    """
    n, d = shape
    unit = _ratio(s, _largest(s))
    size = np.sqrt(np.square(unit).sum(-1, keepdims=True) / max(n * d, 1))
    return ((unit > size * (np.sqrt(n) + np.sqrt(d))) & (unit > 0)).sum(-1).astype(float)


MEASURES: dict[str, Callable[[Values, tuple[int, int]], Values]] = {
    "numerical_rank": numerical_rank,
    "rank_rtol_1e2": rank_rtol_1e2,
    "erank_rv": erank_rv,
    "erank_energy": erank_energy,
    "stable_rank": stable_rank,
    "participation_ratio": participation_ratio,
    "energy_90": partial(energy_rank, share=0.90),
    "energy_95": partial(energy_rank, share=0.95),
    "energy_99": partial(energy_rank, share=0.99),
    "nuclear_spectral": nuclear_spectral,
    "gavish_donoho": gavish_donoho,
    "mp_edge": mp_edge,
}
"""Measures of a spectrum, by name. `measure` adds `permutation_edge`, which needs the matrix."""

LOGGED = ("numerical_rank", "erank_rv", "stable_rank")
"""The measures in the log of every step; the others follow from the logged spectra."""


def measure_spectrum(s: Values, shape: tuple[int, int]) -> dict[str, Values]:
    """Every measure of spectra `s` (…, k) of matrices of one shape (n, d), by name: each (…)."""
    return {name: function(s, shape) for name, function in MEASURES.items()}


def measure(matrix: ArrayLike, seed: int = 0) -> pd.Series:
    """Every measure of one matrix (n, d), by name.

    >>> import numpy as np
    >>> measure(np.diag([2.0, 1.0, 1.0])).round(2).head(5).to_dict()
    {'numerical_rank': 3.0, 'rank_rtol_1e2': 3.0, 'erank_rv': 2.83, 'erank_energy': 2.38, 'stable_rank': 1.5}

    Args:
        matrix: such as a prompt P, ΔP, or a row-normalised P.
        seed: of the shuffles behind `permutation_edge`.

    Raises:
        RankprobeError: not a matrix, or an entry is NaN or infinite.
    """
    s = singular_values(matrix)
    found = {name: float(value) for name, value in measure_spectrum(s, np.shape(matrix)[-2:]).items()}
    edge = permutation_edge(matrix, seed)
    return pd.Series({**found, "permutation_edge": float((s > edge).sum())})


def _exp_entropy(weights: Values) -> Values:
    p = _ratio(weights, weights.sum(-1, keepdims=True))
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.where(p.sum(-1) > 0, np.exp(-(p * log_p).sum(-1)), 0.0)


@cache
def _hard_threshold(beta: float) -> float:
    """ω(β) of `gavish_donoho`, 0 < β ≤ 1."""
    root = np.sqrt(beta**2 + 14 * beta + 1)
    optimal = np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root))
    low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2

    def density(x: float) -> float:
        return np.sqrt(max((high - x) * (x - low), 0.0)) / (2 * np.pi * beta * x)

    def beyond_half(x: float) -> float:
        return quad(density, low, x, limit=200)[0] - 0.5

    median: Any = brentq(beyond_half, low, high)
    return float(optimal / np.sqrt(median))


def _largest(s: Values) -> Values:
    return s[..., :1] if s.shape[-1] else np.zeros((*s.shape[:-1], 1))


def _energy(s: Values) -> Values:
    """s² / s_1², which neither overflows nor vanishes."""
    return np.square(_ratio(s, _largest(s)))


def _ratio(s: Values, by: Values) -> Values:
    return np.divide(s, by, out=np.zeros(np.broadcast_shapes(np.shape(s), np.shape(by))), where=by > 0)
