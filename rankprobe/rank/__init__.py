"""Rank measures and their nulls: functions of matrices and singular values, in float64, without torch."""

from rankprobe.rank.diagonal import revived, sign_counts
from rankprobe.rank.measures import (
    EDGES,
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
from rankprobe.rank.signflip import FLIPS, edge_of_flips, signflip_edge, signflipped
from rankprobe.rank.spectra import NotConverged, gram_singular_values, singular_values
from rankprobe.rank.subspaces import directions, phi, phi_random, principal_angles, similarities
from rankprobe.rank.truncation import KEEP_CHOICES, least_sufficient_k, log_spaced_ks, truncated
from rankprobe.rank.verdict import Verdict, verdict

__all__ = [
    "EDGES",
    "FLIPS",
    "KEEP_CHOICES",
    "LOGGED",
    "MEASURES",
    "QUANTILE",
    "SHUFFLES",
    "NotConverged",
    "Verdict",
    "directions",
    "edge_of_flips",
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
    "principal_angles",
    "rank_rtol_1e2",
    "revived",
    "shuffled",
    "sign_counts",
    "signflip_edge",
    "signflipped",
    "similarities",
    "singular_values",
    "stable_rank",
    "truncated",
    "verdict",
    "with_norm",
]
