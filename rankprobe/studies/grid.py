"""The calibration grid: pairs of replicates with planted ranks, over signal-to-noise, spectra and noises.

`rankprobe calibrate --grid --output FILE` trains the grid and writes the rows of `calibrate_grid`; its size,
its accuracy and the operating ranges in `bundled/operating_ranges.json` are made from them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from torch import nn

from rankprobe import rank
from rankprobe.config.sections import TrainingConfig
from rankprobe.data.seeding import numpy_generator
from rankprobe.errors import RankprobeError, unknown
from rankprobe.prompts import MethodConfig
from rankprobe.prompts.config import VanillaConfig
from rankprobe.studies.calibration import Problem, functional_ranks, initial_method, prompt
from rankprobe.training.optimization import Optimization

PLANTED = (0, 1, 5, 10, 20, 50, 80, 100)
SNRS = (1.0, 0.2, 0.1, 0.05, 0.025)
SPECTRA = {"equal": 1.0, "geometric 10:1": 10.0, "geometric 100:1": 100.0}
"""Ratio of the largest to the smallest planted singular value; those between are equally spaced in log s."""

NOISES = ("iid", "anisotropic", "AR(0.4)")
"""Kinds of gradient noise; see `noises`."""

PHI, SHARED = 0.4, 0.8
"""Of AR(0.4): autocorrelation of one part, and its share in the variance, as in `null_size`."""

HELD_OUT = 16
"""Noisy samples of the target that give the score: as many batches of 16 as a dev set of 256 rows has."""

NULL_SEEDS = 20
"""Pairs without a planted rank, per method and kind of noise, for each seed of the grid."""

WITHIN_SHARE = 0.9
"""A reading operates up to a planted rank if this share of runs is within one, there and for lower ranks."""

KEY = ["method", "noise", "spectrum", "snr"]


def calibrate_grid(
    *,
    methods: Sequence[MethodConfig] = (VanillaConfig(),),
    planted: Sequence[int] = PLANTED,
    snrs: Sequence[float] = SNRS,
    spectra: Sequence[str] = tuple(SPECTRA),
    noises: Sequence[str] = NOISES,
    seeds: Sequence[int] = (0,),
    null_seeds: int = NULL_SEEDS,
    steps: int = 1000,
    shape: tuple[int, int] = (100, 128),
    pairs_only: bool = False,
) -> Iterator[pd.DataFrame]:
    """Train pairs of replicates towards ΔP of known rank, and take all readings of ΔP.

    The two replicates of a pair have the same start and target, and independent gradient noise. The signal-
    to-noise ratio is that of a gradient at P0. Optimizer, schedule and clipping are those of runs.

    Without a planted rank the gradient is noise alone. There the ratio and the spectrum mean nothing, and the
    size of the noise neither, as AdamW divides by it; so there are `null_seeds` pairs per seed and noise.

    Args:
        methods: what is trained; the prompt length is set to n.
        planted: ranks r, 0 to min(n, d).
        snrs: signal-to-noise ratios.
        spectra: of the planted matrices, names of `SPECTRA`.
        noises: names of `NOISES`.
        seeds: of targets, starts and noise.
        null_seeds: pairs of r = 0.
        steps: optimizer updates.
        shape: (n, d).
        pairs_only: take only the readings of pairs, which is faster.

    Yields:
        For each pair, a row per reading: `method`, `noise`, `spectrum`, `snr`, `planted`, `seed`, `reading`,
        `recovered`, and `agreement`, the cosine of the two ΔP. `cv_rank` and `replicate_edge` are of the
        pair; the other readings are of its first replicate.

    Raises:
        RankprobeError: a planted rank beyond min(n, d), or an unknown noise or spectrum.
    """
    if not all(0 <= r <= min(shape) for r in planted):
        raise RankprobeError(f"planted ranks {list(planted)}; expected 0 to {min(shape)} in a prompt {shape}")
    for what, given, known in (("noise", noises, NOISES), ("spectrum", spectra, SPECTRA)):
        for name in given:
            if name not in known:
                raise unknown(what, name, known)
    training = TrainingConfig(steps=steps)
    for method, seed, noise in itertools.product(methods, seeds, noises):
        config = method.model_copy(update={"prompt_length": shape[0]})
        cells: list[tuple[int, str, float, int]] = []
        for r in planted:
            if r == 0:
                cells += [(0, "none", 0.0, seed * null_seeds + i) for i in range(null_seeds)]
            else:  # one singular value has no spectrum
                kinds = ("equal",) if r == 1 else spectra
                cells += [(r, kind, snr, seed) for kind in kinds for snr in snrs]
        for r, spectrum, snr, own_seed in cells:
            about = {
                "method": config.name,
                "noise": noise,
                "spectrum": spectrum,
                "snr": snr,
                "planted": r,
                "seed": own_seed,
            }
            found = pair_readings(config, training, r, spectrum, snr, noise, own_seed, shape, pairs_only)
            agreement = found.pop("agreement")
            rows = pd.DataFrame({"reading": list(found), "recovered": list(found.values())})
            yield rows.assign(**about, agreement=agreement)


def pair_readings(
    config: MethodConfig,
    training: TrainingConfig,
    r: int,
    spectrum: str,
    snr: float,
    noise: str,
    seed: int,
    shape: tuple[int, int],
    pairs_only: bool = False,
) -> dict[str, float]:
    """All readings of one pair, and its `agreement`; see `calibrate_grid`."""
    target = planted_update(r, SPECTRA[spectrum], shape, seed) if r else None
    level = 2 / snr if r else 2.0  # entries of ∂L/∂P at P0 have root mean square 2
    runs = [
        trained_update(config, training, target, level, noise, seed, replicate, shape) for replicate in (0, 1)
    ]
    (P0, dP, n_positive), (_, other, _) = runs
    size = np.linalg.norm(dP) * np.linalg.norm(other)
    found = {
        "agreement": float((dP * other).sum() / size),
        "cv_rank": float(rank.cv_rank([dP, other])),
        "replicate_edge": float(rank.replicate_edge([dP, other])),
    }
    if pairs_only:
        return found
    found |= {} if n_positive is None else {"n_positive": n_positive}
    found |= {str(name): float(value) for name, value in rank.measure(dP).items()}
    sample = next(noises(noise, shape, seed, 2, 1)) * level / 2 / math.sqrt(HELD_OUT)
    held_out = Problem(P0 + sample + (0.0 if target is None else target), 0.0)
    functional = functional_ranks(dP, P0, held_out)
    # Without a gain there is no functional rank: at r = 0 this says, rightly, that no direction is used.
    return found | {name: 0.0 if r == 0 and math.isnan(k) else k for name, k in functional.items()}


def trained_update(
    config: MethodConfig,
    training: TrainingConfig,
    target: Float[np.ndarray, "n d"] | None,
    level: float,
    noise: str,
    seed: int,
    replicate: int,
    shape: tuple[int, int],
) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"], float | None]:
    """P0, ΔP and the number of positive entries of σ (None without a diagonal) of one replicate.

    Args:
        target: the planted ΔP, or None for a gradient of noise alone.
        level: root mean square of the noise in ∂L/∂P.
        replicate: replicates with other numbers have independent noise.
    """
    assert training.steps is not None
    optimization = Optimization(
        initial_method(config, shape[1], seed), nn.Module(), training, training.steps
    )
    P0 = prompt(optimization.method)
    for step, drawn in enumerate(noises(noise, shape, seed, replicate, training.steps), 1):
        pull = 0.0 if target is None else 2 * (prompt(optimization.method) - P0 - target)
        optimization.update_with(level * drawn + pull, step)
    sigma = optimization.method.diagonal()
    n_positive = None if sigma is None else float(rank.sign_counts(sigma.detach().numpy())["n_positive"])
    return P0, prompt(optimization.method) - P0, n_positive


def planted_update(
    r: int, ratio: float, shape: tuple[int, int], seed: int
) -> Float64[np.ndarray, "n d"]:
    """A matrix of rank r with s_1 / s_r = `ratio`, random directions, and entries of root mean square 1."""
    rng = numpy_generator(seed, "shots")
    left, right = (np.linalg.qr(rng.standard_normal((size, r)))[0] for size in shape)
    s = np.geomspace(1, 1 / ratio, r)
    return (left * s) @ right.T * math.sqrt(shape[0] * shape[1] / np.square(s).sum())


def noises(
    kind: str, shape: tuple[int, int], seed: int, replicate: int, steps: int
) -> Iterator[Float64[np.ndarray, "n d"]]:
    """Yield the noise of each step, with entries of root mean square 1 on average.

    - `iid`: standard normal entries.
    - `anisotropic`: row i times exp(zᵢ), with zᵢ standard normal, and the columns times 1, 1/2, …, 1/d in
      random order. Both are fixed for a seed, and the same in all replicates.
    - `AR(0.4)`: 80 % of the variance follows a first-order autoregression over steps with φ = 0.4; the rest
      is independent.
    """
    (n, d), fixed = shape, numpy_generator(seed, "shots", 1)
    scales = fixed.lognormal(size=(n, 1)) * fixed.permutation(1 / np.arange(1, d + 1))
    scales = scales / math.sqrt(np.square(scales).mean()) if kind == "anisotropic" else 1.0
    rng = numpy_generator(seed, "order", replicate)
    common = rng.standard_normal(shape)
    for _ in range(steps):
        own = rng.standard_normal(shape)
        if kind == "AR(0.4)":
            common = PHI * common + math.sqrt(1 - PHI**2) * rng.standard_normal(shape)
            own = math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * own
        yield scales * own
