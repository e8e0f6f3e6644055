"""Rank measures and their nulls: functions of matrices and singular values, in float64, without torch."""

from rankprobe.rank.diagonal import revived, sign_counts
from rankprobe.rank.intervals import mean_interval, share_interval
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
from rankprobe.rank.nulls import QUANTILE, SHUFFLES, gaussian_like, permutation_edge, shuffled
from rankprobe.rank.spectra import NotConverged, gram_singular_values, singular_values
from rankprobe.rank.subspaces import directions, phi, phi_random, principal_angles, similarities
from rankprobe.rank.truncation import (
    KEEP_CHOICES,
    ORDER_CHOICES,
    bisected_curve,
    least_sufficient_k,
    log_spaced_ks,
    sensitivities,
    sufficient_bracket,
    truncated,
)
from rankprobe.rank.verdict import Verdict, verdict

__all__ = [
    "KEEP_CHOICES",
    "LOGGED",
    "MEASURES",
    "ORDER_CHOICES",
    "QUANTILE",
    "SHUFFLES",
    "NotConverged",
    "Verdict",
    "bisected_curve",
    "directions",
    "energy_rank",
    "erank_energy",
    "erank_rv",
    "gaussian_like",
    "gavish_donoho",
    "gram_singular_values",
    "least_sufficient_k",
    "log_spaced_ks",
    "mean_interval",
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
    "sensitivities",
    "share_interval",
    "shuffled",
    "sign_counts",
    "similarities",
    "singular_values",
    "stable_rank",
    "sufficient_bracket",
    "truncated",
    "verdict",
]
