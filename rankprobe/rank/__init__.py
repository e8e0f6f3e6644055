"""Rank measures and their nulls: functions of matrices and singular values, in float64, without torch."""

from rankprobe.rank.diagonal import revived, sign_counts
from rankprobe.rank.measures import (
    LOGGED,
    MEASURES,
    energy_rank,
    erank_energy,
    erank_rv,
    gavish_donoho,
    measure,
    measure_spectrum,
    mp_edge,
    nuclear_spectral,
    numerical_rank,
    numerical_rank_rtol,
    participation_ratio,
    rank_rtol_1e2,
    stable_rank,
)
from rankprobe.rank.neighbors import nearest
from rankprobe.rank.nulls import (
    QUANTILE,
    SHUFFLES,
    gaussian_like,
    haar_like,
    permutation_edge,
    shuffled,
    with_norm,
)
from rankprobe.rank.spectra import NotConverged, gram_singular_values, singular_values
from rankprobe.rank.subspaces import directions, phi, phi_random, principal_angles, similarities
from rankprobe.rank.truncation import KEEP_CHOICES, least_sufficient_k, log_spaced_ks, truncated
from rankprobe.rank.verdict import Place, Verdict, place, verdict, verdicts

__all__ = [
    "KEEP_CHOICES",
    "LOGGED",
    "MEASURES",
    "QUANTILE",
    "SHUFFLES",
    "NotConverged",
    "Place",
    "Verdict",
    "directions",
    "energy_rank",
    "erank_energy",
    "erank_rv",
    "gaussian_like",
    "gavish_donoho",
    "gram_singular_values",
    "haar_like",
    "least_sufficient_k",
    "log_spaced_ks",
    "measure",
    "measure_spectrum",
    "mp_edge",
    "nearest",
    "nuclear_spectral",
    "numerical_rank",
    "numerical_rank_rtol",
    "participation_ratio",
    "permutation_edge",
    "phi",
    "phi_random",
    "place",
    "principal_angles",
    "rank_rtol_1e2",
    "revived",
    "shuffled",
    "sign_counts",
    "similarities",
    "singular_values",
    "stable_rank",
    "truncated",
    "verdict",
    "verdicts",
    "with_norm",
]
