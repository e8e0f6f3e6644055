"""The calibration grid: pairs of replicates with planted ranks, over signal-to-noise, spectra and noises.

`rankprobe calibrate --grid --output FILE` trains the grid, writes the rows of `calibrate_grid`, and prints
the operating range of each reading. Those of the package are in `bundled/operating_ranges.csv`.

`python -m rankprobe.studies grid` counts how often `cv_rank` is within two of the planted rank, on ten seeds.
`python -m rankprobe.studies stress` prints the readings of `stress` at two learning rates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from torch import nn

from rankprobe import rank
from rankprobe.bundled import FOLDER
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

CALIBRATED_UP_TO = 50
"""The planted rank that counts for `least_agreement`."""


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
    learning_rate: float = 0.3,
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
        learning_rate: peak rate.
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
    training = TrainingConfig(steps=steps, learning_rate=learning_rate)
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
        config: the method.
        training: its settings, with `steps`.
        noise: the kind, of `NOISES`.
        seed: of the start.
        shape: (n, d).
        target: the planted ΔP, or None for a gradient of noise alone.
        level: root mean square of the noise in ∂L/∂P.
        replicate: replicates with other numbers have independent noise.
    """
    assert training.steps is not None
    optimization = Optimization(initial_method(config, shape[1], seed), nn.Module(), training, training.steps)
    P0 = prompt(optimization.method)
    for step, drawn in enumerate(noises(noise, shape, seed, replicate, training.steps), 1):
        pull = 0.0 if target is None else 2 * (prompt(optimization.method) - P0 - target)
        optimization.update_with(level * drawn + pull, step)
    sigma = optimization.method.diagonal()
    n_positive = None if sigma is None else float(rank.sign_counts(sigma.detach().numpy())["n_positive"])
    return P0, prompt(optimization.method) - P0, n_positive


def planted_update(r: int, ratio: float, shape: tuple[int, int], seed: int) -> Float64[np.ndarray, "n d"]:
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


def grid_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Summarise the rows of `calibrate_grid` over seeds and kinds of noise.

    Returns:
        A row per reading, spectrum, signal-to-noise ratio and planted rank: `pairs`, `recovered` (mean of the
        defined readings), `bias` (`recovered` minus the planted rank), and `within_one`, the share of pairs
        that are at most 1 from it; an undefined reading is not. At r = 0 these are of noise alone, and
        `above_zero` is the size: the share of pairs with a reading above 0. A rank of 1 has no spectrum.
    """
    off = (frame["recovered"] - frame["planted"]).abs()
    flagged = frame.assign(near=off <= 1, above=frame["recovered"] > 0)
    keys = ["reading", "spectrum", "snr", "planted"]
    grouped = flagged.groupby(keys, sort=False)
    table = grouped.agg(
        pairs=("seed", "size"), recovered=("recovered", "mean"), within_one=("near", "mean"),
        above_zero=("above", "mean"),
    ).reset_index()  # fmt: skip
    table["above_zero"] = table["above_zero"].where(table["planted"] == 0)
    return table.assign(bias=table["recovered"] - table["planted"])


def operating_ranges(frame: pd.DataFrame) -> pd.DataFrame:
    """Where each reading gives the planted rank.

    Returns:
        A row per reading, spectrum and signal-to-noise ratio: `up_to`, the largest planted rank such that,
        there and for all lower planted ranks above 0, at least 90 % of the pairs are within one (0 if there
        is none); `within_one` and `bias` over all planted ranks above 0; `pairs`, their number; `agreement`,
        the mean over these pairs; and `size`, the share of pairs with a reading above 0 on noise alone, with
        `null_pairs`.
    """
    table, rows = grid_summary(frame), []
    null = table[table["planted"] == 0].set_index("reading")
    signal = frame[frame["planted"] > 0]
    # A rank of 1 is trained once per ratio, and belongs to every spectrum.
    spectra = list(dict.fromkeys(signal.loc[signal["planted"] > 1, "spectrum"]))
    for (reading, snr), part in table[table["planted"] > 0].groupby(["reading", "snr"], sort=False):
        for spectrum in spectra:
            own = part[(part["spectrum"] == spectrum) | (part["planted"] == 1)].sort_values("planted")
            below = own["planted"][(own["within_one"] >= WITHIN_SHARE).cummin()]
            weights = own["pairs"] / own["pairs"].sum()
            near = signal[(signal["snr"] == snr) & (signal["spectrum"] == spectrum)]
            rows.append(
                {
                    "reading": reading,
                    "spectrum": spectrum,
                    "snr": snr,
                    "up_to": int(below.max()) if len(below) else 0,
                    "within_one": float((own["within_one"] * weights).sum()),
                    "bias": float(own["bias"].mean()),
                    "pairs": int(own["pairs"].sum()),
                    "agreement": float(near["agreement"].mean()),
                    "size": float(null["above_zero"].get(reading, math.nan)),
                    "null_pairs": int(null["pairs"].get(reading, 0)),
                }
            )
    order = ["reading", "spectrum", "snr"]
    return pd.DataFrame(rows).sort_values(order, ascending=[True, True, False]).reset_index(drop=True)


def known_ranges() -> pd.DataFrame:
    """The operating ranges of the package, as `operating_ranges` returns them.

    Made by: `rankprobe calibrate --grid --ranges rankprobe/bundled/operating_ranges.csv`
    """
    return pd.read_csv(FOLDER / "operating_ranges.csv")


def least_agreement(ranges: pd.DataFrame) -> float:
    """The agreement of ΔP from which on `cv_rank` gives planted ranks with equal singular values up to 50.

    It is the smallest mean `agreement` of a signal-to-noise ratio such that, there and at higher agreement,
    `up_to` is at least 50. Replicates that agree less are outside its calibration: their rank is a lower
    bound at best.

    Returns:
        NaN if there is none.
    """
    own = ranges[(ranges["reading"] == "cv_rank") & (ranges["spectrum"] == "equal")]
    own = own.sort_values("agreement", ascending=False)
    enough = own["agreement"][(own["up_to"] >= CALIBRATED_UP_TO).cummin()]
    return float(enough.min()) if len(enough) else math.nan


def format_ranges(ranges: pd.DataFrame) -> str:
    """A table per spectrum: the largest rank that each reading recovers, by signal-to-noise ratio."""
    blocks = []
    for spectrum, part in ranges.groupby("spectrum", sort=False):
        wide = part.pivot(index="reading", columns="snr", values="up_to")
        wide = wide[sorted(wide.columns, reverse=True)].assign(size=part.groupby("reading")["size"].first())
        blocks.append(f"{spectrum} singular values\n{wide.to_string(float_format='{:.2f}'.format)}")
    first = ranges.iloc[0]
    legend = (
        "Largest planted rank up to which at least 90 % of pairs are within one, by signal-to-noise ratio.\n"
        f"0: not even rank 1. size: share above 0 on noise alone ({first['null_pairs']} pairs)."
    )
    return "\n\n".join([*blocks, legend])


def shares_within(frame: pd.DataFrame, reading: str = "cv_rank", margin: int = 2) -> pd.DataFrame:
    """The number of pairs with a reading within `margin` of the planted rank, 0 at r = 0, as text `9/10`.

    Returns:
        A row per kind of noise and signal-to-noise ratio (0 for noise alone), and a column per planted rank.
    """
    own = frame[frame["reading"] == reading]
    near = (own["recovered"] - own["planted"]).abs() <= margin * (own["planted"] > 0)
    grouped = own.assign(near=near).groupby(["noise", "snr", "planted"])["near"]
    text = grouped.agg(lambda flags: f"{int(flags.sum())}/{len(flags)}")
    return text.unstack("planted", fill_value="")


def stress(
    steps: int,
    learning_rate: float,
    *,
    planted: Sequence[int] = (5, 10),
    snr: float = 0.05,
    spectrum: str = "geometric 10:1",
    noises: Sequence[str] = NOISES,
    seeds: Sequence[int] = range(10),
    shape: tuple[int, int] = (100, 128),
) -> pd.DataFrame:
    """Readings where the smallest planted singular values are near the noise of a trained ΔP.

    The pairs are those of `calibrate_grid` with the same settings. The functional rank is scored with the
    exact objective, without held-out noise.

    Returns:
        A row per kind of noise, planted rank and seed: `cv_rank`, and `functional` of the first replicate.
    """
    training, rows = TrainingConfig(steps=steps, learning_rate=learning_rate), []
    config = VanillaConfig(prompt_length=shape[0])
    for noise, r, seed in itertools.product(noises, planted, seeds):
        target = planted_update(r, SPECTRA[spectrum], shape, seed)
        (P0, one, _), (_, other, _) = (
            trained_update(config, training, target, 2 / snr, noise, seed, replicate, shape)
            for replicate in (0, 1)
        )
        functional = functional_ranks(one, P0, Problem(P0 + target, 0.0))["functional"]
        readings = {"cv_rank": rank.cv_rank([one, other]), "functional": functional}
        rows.append({"noise": noise, "planted": r, "seed": seed, **readings})
    return pd.DataFrame(rows)
