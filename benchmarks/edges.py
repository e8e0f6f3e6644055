"""Counts above the edges of noise for known matrices: `python benchmarks/edges.py`, a few minutes.

Prints two kinds of tables. In the first, nothing is planted, and a good count is 0 or 1. In the second, k
equal singular values are planted in Gaussian noise with lognormal row scales, and a good count is k.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from threadpoolctl import threadpool_limits

from rankprobe.backbone import load_backbone
from rankprobe.prompts import build
from rankprobe.prompts.config import ProbeConfig
from rankprobe.prompts.init import InitSources, sampled_vocabulary
from rankprobe.rank import gram_singular_values, measure

Matrix = Float64[np.ndarray, "n d"]

SHAPE = (100, 768)
ROW_SIGMA = 0.7
"""Standard deviation of the logarithm of the row scales."""

COUNTS = ["signflip_edge", "permutation_edge", "gavish_donoho", "mp_edge"]


def gaussian(seed: int, row_sigma: float = 0.0) -> Matrix:
    """Gaussian noise (100, 768), with lognormal row scales if `row_sigma` > 0."""
    rng = np.random.default_rng(seed)
    rows = np.exp(row_sigma * rng.standard_normal((SHAPE[0], 1)))
    return rows * rng.standard_normal(SHAPE)


def probe_start(seed: int, d: int = SHAPE[1]) -> Matrix:
    """P0 (100, d) of the method `probe` with its default settings."""
    sources = InitSources(torch.zeros(1, d), labels=torch.zeros(0, d))
    with torch.no_grad():
        return build(ProbeConfig(), sources, torch.Generator().manual_seed(seed))().double().numpy()


def vocabulary_start(seed: int) -> Matrix:
    """P0 (100, 128) of the method `vanilla` with its default settings, on the backbone `tiny`."""
    return sampled_vocabulary(torch.Generator().manual_seed(seed), _vocabulary(), 100).double().numpy()


@cache
def _vocabulary() -> torch.Tensor:
    return load_backbone("tiny").vocabulary(5000)


NOTHING_PLANTED: dict[str, Callable[[int], Matrix]] = {
    "Gaussian": gaussian,
    "lognormal rows": partial(gaussian, row_sigma=ROW_SIGMA),
    "vocabulary of tiny": vocabulary_start,
    "start of the probe": probe_start,
    "start of the probe, d = 128": partial(probe_start, d=128),
}
"""A function from a seed to a matrix, by name."""


def planted(k: int, snr: float, seed: int) -> Matrix:
    """Noise with lognormal rows, plus k singular values of `snr` times the largest one of the noise."""
    noise = gaussian(seed, ROW_SIGMA)
    rng = np.random.default_rng((seed, k))
    U, V = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in SHAPE)
    return noise + snr * gram_singular_values(noise)[0] * U @ V.T


def counts(matrices: list[Matrix]) -> pd.DataFrame:
    """Return the counts above each edge: a row per matrix; each has signs and shuffles of its own."""
    return pd.DataFrame([measure(matrix, seed)[COUNTS] for seed, matrix in enumerate(matrices)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    draws = range(parser.parse_args().draws)
    for name, draw in NOTHING_PLANTED.items():
        found = counts([draw(seed) for seed in draws])
        table = pd.DataFrame(
            {"mean": found.mean(), "maximum": found.max(), "at most 1 (%)": 100 * (found <= 1).mean()}
        )
        print(f"\n{name}\n{table.round(2).to_string()}", flush=True)
    rows = {}
    for k in (1, 3, 10, 20, 50):
        for snr in (1.0, 1.25, 1.5, 2.0, 5.0):
            found = counts([planted(k, snr, seed) for seed in draws[:20]])
            rows[k, snr] = found.mean().round(1)
    print("\nplanted, mean count of 20 draws")
    print(pd.DataFrame(rows).T.rename_axis(["k", "snr"]).to_string())


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
