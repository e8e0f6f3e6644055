"""Rank measures: functions of singular values `s`, descending, and of the shape (n, d) of the matrix.

The literature uses some names for several formulas. Here each measure has one name and one formula; a new
formula gets a new name. All measures of a zero matrix are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float
from numpy.typing import ArrayLike

from rankprobe.errors import RankprobeError
from rankprobe.plugins import Registry
from rankprobe.rank.nulls import permutation_edge
from rankprobe.rank.signflip import signflip_edge
from rankprobe.rank.spectra import FLOAT32_EPS, singular_values

Spectra = Float[np.ndarray, "*batch r"]
"""Singular values of matrices of the same shape, descending; r = min(n, d)."""

Values = Float[np.ndarray, "*batch"] | np.float64
"""One number per matrix; numpy returns a scalar for a single matrix."""

_Numbers = Float[np.ndarray, " ..."] | np.float64

RTOL = 0.01
"""The threshold of `rank_rtol_1e2`, relative to s_1."""


def numerical_rank_rtol(shape: tuple[int, int]) -> float:
    """Return the relative tolerance of `numerical_rank`: max(n, d) · ε of float32, the dtype of prompts."""
    return max(shape) * FLOAT32_EPS


def numerical_rank(s: Spectra, shape: tuple[int, int]) -> Values:
    """Numerical rank #{i : s_i > s_1 · max(n, d) · ε}, with ε of float32.

    Source: the convention of numpy and LAPACK for the rank of a float32 matrix.
    """
    return (s > _largest(s) * numerical_rank_rtol(shape)).sum(-1).astype(float)


def rank_rtol_1e2(s: Spectra, shape: tuple[int, int]) -> Values:
    """ε-rank #{i : s_i > 0.01 · s_1}.

    Source: the `rtol` of `matrix_rank` in numpy and the array API standard.
    """
    return (s > RTOL * _largest(s)).sum(-1).astype(float)


def erank_rv(s: Spectra, shape: tuple[int, int]) -> Values:
    """Effective rank exp(H(p)) with p_i = s_i / Σ s and H in nats: between 1 and min(n, d).

    Source: Roy and Vetterli (2007), "The effective rank", equation 4. It uses s, not s².
    """
    return _exp_entropy(s)


def erank_energy(s: Spectra, shape: tuple[int, int]) -> Values:
    """Effective rank of the energy, exp(H(p)) with p_i = s_i² / Σ s²: at most `erank_rv`.

    Source: H / log(rank) is the `entropy` of WeightWatcher (Martin and Mahoney, arXiv 1810.01075).
    """
    return _exp_entropy(_energy(s))


def stable_rank(s: Spectra, shape: tuple[int, int]) -> Values:
    """Stable rank ‖P‖²_F / s_1² = Σ s² / s_1²: at least 1, at most the rank.

    Source: Rudelson and Vershynin (2007); also Martin and Mahoney (arXiv 1810.01075).
    """
    return _energy(s).sum(-1)


def participation_ratio(s: Spectra, shape: tuple[int, int]) -> Values:
    """Participation ratio (Σ λ)² / Σ λ² with λ = s².

    Source: `lPCA(ver="participation_ratio")` of scikit-dimension. WeightWatcher has another measure of this
    name, a ratio of vector norms.
    """
    energy = _energy(s)
    return np.square(_ratio(energy.sum(-1), np.sqrt(np.square(energy).sum(-1))))


def energy_rank(s: Spectra, shape: tuple[int, int], share: float) -> Values:
    """Least k with Σ_{i≤k} s_i² ≥ share · Σ s². Source: as in principal component analysis."""
    energy = np.cumsum(_energy(s), axis=-1)
    if not energy.shape[-1]:
        return np.zeros(energy.shape[:-1])
    enough = energy >= share * energy[..., -1:] * (1 - 1e-12)
    return np.where(energy[..., -1] > 0, enough.argmax(-1) + 1.0, 0.0)


def nuclear_spectral(s: Spectra, shape: tuple[int, int]) -> Values:
    """Ratio of the nuclear and the spectral norm, Σ s / s_1: between `stable_rank` and the rank."""
    return _ratio(s, _largest(s)).sum(-1)


def gavish_donoho(s: Spectra, shape: tuple[int, int]) -> Values:
    """#{i : s_i > ω(β) · median(s)}: singular values above white noise of unknown variance; β = n / d ≤ 1.

    ω(β) = λ(β) / √μ(β), with μ the median of the Marchenko–Pastur law, by quadrature.
    Source: Gavish and Donoho (2014), IEEE Transactions on Information Theory 60(8), equations 3, 5 and 10.
    Differs: rounding error is not counted; it is all of the median if the rank is below half of min(n, d).
    """
    if not s.shape[-1]:
        return np.zeros(s.shape[:-1])
    threshold = _hard_threshold(min(shape) / max(shape)) * np.median(s, axis=-1, keepdims=True)
    rounding = _largest(s) * numerical_rank_rtol(shape)
    return (s > np.maximum(threshold, rounding)).sum(-1).astype(float)


def mp_edge(s: Spectra, shape: tuple[int, int]) -> Values:
    """#{i : s_i > v (√n + √d)} with v² = ‖P‖²_F / (n d): values above the edge of noise with the norm of P.

    Source: Marchenko and Pastur (1967); for weights, Martin and Mahoney (arXiv 1810.01075).
    Differs: Martin and Mahoney fit v.
    """
    n, d = shape
    unit = _ratio(s, _largest(s))
    size = np.sqrt(np.square(unit).sum(-1, keepdims=True) / max(n * d, 1))
    return ((unit > size * (np.sqrt(n) + np.sqrt(d))) & (unit > 0)).sum(-1).astype(float)


Measure = Callable[[Spectra, tuple[int, int]], Values]

_OWN: dict[str, Measure] = {
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

EDGES: dict[str, Callable[[ArrayLike, int], float]] = {
    "signflip_edge": signflip_edge,
    "permutation_edge": permutation_edge,
}
"""Edges of noise by name: functions of a matrix and a seed. The measure of this name is the number of
singular values above the edge."""

LOGGED = ("numerical_rank", "erank_rv", "stable_rank")
"""Our measures that are logged at every step; the others can be computed from the logged spectra."""

_SAMPLE = np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
"""Spectra of matrices (3, 5), on which a measure of a plugin is tried."""


def _from_plugin(name: str, function: Any, _: Mapping[str, Measure]) -> Measure:
    """A measure of a plugin.

    Raises:
        RankprobeError: it has the name of an edge, or does not give one finite number for each spectrum.
    """
    if name in EDGES:
        raise RankprobeError("rankprobe has a measure of this name")
    with np.errstate(all="ignore"):  # what is not finite is refused below
        together = np.asarray(function(_SAMPLE.copy(), (3, 5)), dtype=float)
        alone = np.array([float(function(s.copy(), (3, 5))) for s in _SAMPLE])
    if together.shape != alone.shape or not np.isfinite(alone).all() or alone[-1] != 0:
        raise RankprobeError("expected a finite number for each spectrum along the last axis, 0 for zeros")
    if not np.allclose(together, alone):
        raise RankprobeError("a stack of spectra gives other numbers than each of them alone")
    return function


MEASURES: Registry[Measure] = Registry("measure", _OWN, _from_plugin)
"""All measures of a spectrum by name. `measure` adds those of `EDGES`, which need the matrix itself."""


def logged_measures() -> tuple[str, ...]:
    """Return the measures that are logged at every step: `LOGGED`, and those of plugins."""
    return (*LOGGED, *MEASURES.added)


def measure_spectrum(s: Spectra, shape: tuple[int, int]) -> dict[str, Values]:
    """Return all measures of the spectra `s` of matrices of the shape (n, d), by name."""
    return {name: function(s, shape) for name, function in MEASURES.items()}


def measure(matrix: ArrayLike, seed: int = 0) -> pd.Series:
    """Return all measures of one matrix (n, d), by name.

    >>> import numpy as np
    >>> measure(np.diag([2.0, 1.0, 1.0])).round(2).head(5).to_dict()
    {'numerical_rank': 3.0, 'rank_rtol_1e2': 3.0, 'erank_rv': 2.83, 'erank_energy': 2.38, 'stable_rank': 1.5}

    Args:
        matrix: for example a prompt P, ΔP, or a row-normalised P.
        seed: seed of the signs and shuffles of `EDGES`.

    Raises:
        RankprobeError: `matrix` is not a matrix, or an entry is NaN or infinite.
    """
    s = singular_values(matrix)
    values = {name: float(value) for name, value in measure_spectrum(s, np.shape(matrix)[-2:]).items()}
    above = {name: float((s > edge(matrix, seed)).sum()) for name, edge in EDGES.items()}
    return pd.Series({**values, **above})


def _exp_entropy(weights: Spectra) -> Values:
    """Return exp(H(p)) with p = weights / Σ weights."""
    p = _ratio(weights, weights.sum(-1, keepdims=True))
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.where(p.sum(-1) > 0, np.exp(-(p * log_p).sum(-1)), 0.0)


@cache
def _hard_threshold(beta: float) -> float:
    """Return ω(β) of `gavish_donoho` for 0 < β ≤ 1."""
    root = np.sqrt(beta**2 + 14 * beta + 1)
    optimal = np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root))
    low, high = (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2

    def density(x: float) -> float:
        return np.sqrt(max((high - x) * (x - low), 0.0)) / (2 * np.pi * beta * x)

    def probability_minus_half(x: float) -> float:
        return scipy.integrate.quad(density, low, x, limit=200)[0] - 0.5

    median: Any = scipy.optimize.brentq(probability_minus_half, low, high)
    return float(optimal / np.sqrt(median))


def _largest(s: Spectra) -> Float[np.ndarray, "*batch 1"]:
    """Return s_1, or 0 for an empty matrix."""
    return s[..., :1] if s.shape[-1] else np.zeros((*s.shape[:-1], 1))


def _energy(s: Spectra) -> Spectra:
    """Return s² / s_1², which cannot overflow or underflow."""
    return np.square(_ratio(s, _largest(s)))


def _ratio(numerator: _Numbers, denominator: _Numbers) -> Float[np.ndarray, " ..."]:
    """Return numerator / denominator, or 0 where the denominator is 0."""
    out = np.zeros(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)))
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
