"""Calibration: which readings recover a planted rank? Prompts trained on known matrices; no backbone."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64
from torch import nn

from rankprobe import rank
from rankprobe.config.sections import TrainingConfig
from rankprobe.data.seeding import numpy_generator, torch_generator
from rankprobe.errors import RankprobeError
from rankprobe.prompts import MethodConfig, build
from rankprobe.prompts.base import Method
from rankprobe.prompts.config import DPTConfig, ProbeConfig, VanillaConfig
from rankprobe.prompts.init import InitSources
from rankprobe.rank.verdict import verdict
from rankprobe.training.optimization import Optimization
from rankprobe.training.twins import Twins
from rankprobe.twins import TWINS

PLANTED = (0, 1, 5, 20)
"""Planted ranks. 0 means no target: the gradient is noise alone."""

METHODS: tuple[MethodConfig, ...] = (ProbeConfig(), ProbeConfig(orthonormal=True), VanillaConfig())

ALL_PLANTED = (0, 1, 2, 5, 10, 20, 50, 100)

ALL_METHODS: tuple[MethodConfig, ...] = (
    ProbeConfig(),
    ProbeConfig(gate="straight-through"),
    ProbeConfig(gate="leaky"),
    ProbeConfig(gate="softplus"),
    ProbeConfig(gate="none"),
    DPTConfig(),
    VanillaConfig(),
    ProbeConfig(orthonormal=True),
)

NULLS = {"gaussian": "twin", "haar": "haar", "flip-block": "flip_block"}
"""The twins that need no examples, by kind, and the column of their readings."""

SHARE = 0.95
"""Share of the gain in the objective that a functional rank keeps, as in `evaluation.truncate`."""

SETTING = ["method", "gate", "orthonormal", "planted_in", "noise", "learning_rate", "steps"]
"""The columns that identify a setting. Runs of one setting differ in planted rank and seed."""


@dataclass(frozen=True)
class Problem:
    """The objective ‖P − target‖²_F with noisy gradients.

    Attributes:
        target: the planted matrix, or None for a gradient of noise alone.
        noise: standard deviation of the noise in each entry of ∂L/∂P.
    """

    target: Float[np.ndarray, "n d"] | None
    noise: float

    def gradient(self, P: Float[np.ndarray, "n d"], rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
        noise = self.noise * rng.standard_normal(P.shape)
        return noise if self.target is None else noise + 2 * (P - self.target)

    def score(self, prompts: Float[np.ndarray, "*stack n d"]) -> Float[np.ndarray, "*stack"]:
        """Minus the mean squared error of each prompt; 0 without a target."""
        if self.target is None:
            return np.zeros(prompts.shape[:-2])
        return np.asarray(-np.square(prompts - self.target).mean((-2, -1)))


def calibrate(
    *,
    methods: Sequence[MethodConfig] = METHODS,
    planted: Sequence[int] = PLANTED,
    noise: Sequence[float] = (5.0,),
    learning_rates: Sequence[float] = (0.3,),
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 1000,
    shape: tuple[int, int] = (100, 128),
    planted_in: Literal["P", "dP"] = "P",
) -> pd.DataFrame:
    """Train prompts towards targets of known rank r, and take all readings of the trained prompts.

    A target has r equal singular values and entries of root mean square 1. All rank measures of the target
    itself give r, so a reading that differs from r differs because of the training. The target is planted in
    P or in ΔP; in the second case the objective is ‖P − (P0 + target)‖²_F.

    Optimizer, schedule, clipping and noise twins are those of runs, but without the twin that needs examples.
    The defaults are 36 runs. `ALL_METHODS` with `ALL_PLANTED` are 192.

    Args:
        methods: what is trained; the prompt length is set to n.
        planted: ranks r, 0 to min(n, d). 0 is a gradient of noise alone.
        noise: Frobenius norm of the noise in ∂L/∂P, as a multiple of ‖∂L/∂P‖ at P = 0 (at P0, if planted in
            ΔP). Its inverse is the signal-to-noise ratio of a gradient there.
        learning_rates: peak rates.
        seeds: of target, initial factors, gradient noise and twin.
        steps: optimizer updates.
        shape: (n, d).
        planted_in: where the rank is.

    Returns:
        A row per run and reading: `planted`, the columns of `SETTING`, `seed`, `reading`, `recovered`, and
        `twin`, `haar` and `flip_block`, the readings of the Gaussian, Haar and block-flip twin (NaN for
        readings that compare with the Gaussian twin). If a twin diverges, its readings and the comparisons
        with it are NaN, and a warning names the run.

    Raises:
        RankprobeError: a planted rank beyond min(n, d).
    """
    if not all(0 <= r <= min(shape) for r in planted):
        raise RankprobeError(f"planted ranks {list(planted)}; expected 0 to {min(shape)} in a prompt {shape}")
    parts = []
    for method, r, level, rate, seed in itertools.product(methods, planted, noise, learning_rates, seeds):
        config = method.model_copy(update={"prompt_length": shape[0]})
        training = TrainingConfig(learning_rate=rate, steps=steps)
        run = planted_run(config, training, r, level, seed, shape[1], planted_in)
        about = {
            "planted": r,
            "method": config.name,
            "gate": getattr(config, "gate", ""),
            "orthonormal": getattr(config, "orthonormal", False),
            "planted_in": planted_in,
            "noise": level,
            "learning_rate": rate,
            "steps": steps,
            "seed": seed,
        }
        parts.append(run.assign(**about)[[*about, *run.columns]])
    return pd.concat(parts, ignore_index=True)


def planted_run(
    config: MethodConfig,
    training: TrainingConfig,
    r: int,
    noise: float,
    seed: int,
    d: int,
    planted_in: str,
) -> pd.DataFrame:
    """All readings of one run and of its twins: columns `reading`, `recovered`, and those of `NULLS`."""
    assert training.steps is not None
    optimization = Optimization(initial_method(config, d, seed), nn.Module(), training, training.steps)
    twins = Twins(optimization, list(NULLS), seed)
    P0 = prompt(optimization.method)
    target = None if not r else planted_matrix(r, P0.shape, seed) + (P0 if planted_in == "dP" else 0.0)
    # At P = 0 (at P0, if planted in ΔP) the entries of ∂L/∂P have root mean square 2.
    problem = Problem(target, 2 * noise)
    descend(optimization, twins, problem, seed)
    found = readings(optimization.method, P0, problem)
    nulls = {NULLS[kind]: readings(twins.methods[kind], P0, problem) for kind in twins.active}
    lost = "gaussian" in twins.diverged
    other = optimization.method if lost else twins.methods["gaussian"]
    compared = against_twin(optimization.method, other, P0)
    for kind, step in twins.diverged.items():
        warnings.warn(
            f"{config.name} with planted rank {r}, seed {seed}: the {TWINS[kind]} diverged at step {step} "
            f"({twins.problems[kind]}); its readings are missing",
            stacklevel=2,
        )
    found |= dict.fromkeys(compared, math.nan) if lost else compared
    frame = pd.DataFrame({"recovered": found, **nulls}).reindex(columns=["recovered", *NULLS.values()])
    return frame.rename_axis("reading").reset_index()


def planted_matrix(r: int, shape: tuple[int, ...], seed: int) -> Float[np.ndarray, "n d"]:
    """A matrix with r equal singular values, random directions, and entries of root mean square 1."""
    # The stream "shots" is not used otherwise here; the gradient noise uses "order".
    rng = numpy_generator(seed, "shots")
    left, right = (np.linalg.qr(rng.standard_normal((size, r)))[0] for size in shape)
    return np.sqrt(shape[0] * shape[1] / r) * left @ right.T


def descend(optimization: Optimization, twins: Twins, problem: Problem, seed: int) -> None:
    """Train a run and its twins as `training.loop` does, with the gradients of `problem`."""
    for step in range(1, optimization.total_steps + 1):
        gradient = problem.gradient(prompt(optimization.method), numpy_generator(seed, "order", step))
        optimization.update_with(gradient, step)
        twins.update(step, gradient)


def readings(method: Method, P0: Float[np.ndarray, "n d"], problem: Problem) -> dict[str, float]:
    """All readings of one trained method.

    `n_positive` is the paper's count; `P_<measure>` and `dP_<measure>` are `rank.measure` of P and of
    ΔP = P − P0; `P_functional…` and `dP_functional…` are `functional_ranks`.
    """
    P = prompt(method)
    found = {} if (count := _positive(method)) is None else {"n_positive": count}
    for name, whole, start in (("P", P, np.zeros_like(P)), ("dP", P - P0, P0)):
        found |= {f"{name}_{measure}": value for measure, value in rank.measure(whole).items()}
        found |= {f"{name}_{kind}": k for kind, k in functional_ranks(whole, start, problem).items()}
    return found


def functional_ranks(
    whole: Float[np.ndarray, "n d"], start: Float[np.ndarray, "n d"], problem: Problem
) -> dict[str, float]:
    """The rank of `whole` that the objective uses, by two rules.

    For each k, the best rank-k approximation of `whole` is added to `start` and scored; its gain is the
    difference to k = 0. `functional` is the least k from which on 95 % of the gain of the whole matrix is
    kept, as in `evaluation.truncate`. `functional_best` is the least k with 95 % of the gain of the best k:
    if the small directions are noise, the best k scores higher than the whole matrix.

    Both are NaN without a gain. The objective is exact here, whereas a dev score is noisy.
    """
    ks = range(min(whole.shape) + 1)
    scores = problem.score(start + rank.truncated(whole, ks, "top"))
    rising = np.maximum.accumulate(scores)
    return {
        kind: float(rank.least_sufficient_k(ks, curve, full=curve[-1], floor=scores[0], share=SHARE))
        for kind, curve in (("functional", scores), ("functional_best", rising))
    }


def against_twin(method: Method, twin: Method, P0: Float[np.ndarray, "n d"]) -> dict[str, float]:
    """Readings that compare a run with its noise twin.

    `n_positive_minus_twin` is the difference of the counts. `P_above_twin` and `dP_above_twin` count the
    singular values above the largest of the twin: Horn's parallel analysis (1965) with the twin as the
    parallel data.
    """
    own, null = _positive(method), _positive(twin)
    found = {} if own is None or null is None else {"n_positive_minus_twin": own - null}
    for name, start in (("P", 0.0), ("dP", P0)):
        s, edge = (rank.singular_values(prompt(each) - start) for each in (method, twin))
        found[f"{name}_above_twin"] = float((s > edge[0]).sum())
    return found


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Summarise the frame of `calibrate` over seeds.

    Returns:
        A row per setting, reading and planted rank: `seeds`, `recovered` (mean; NaN if undefined for all),
        `spread` (standard deviation), `within_one` (share of all seeds at most 1 from the planted rank; an
        undefined reading does not count as within), the means of the twins in the columns of `NULLS`, and
        `verdict`, the text of `rank.verdict` against the twins that the frame has.
    """
    rows = []
    for key, part in frame.groupby([*SETTING, "reading", "planted"], sort=False):
        nulls = {name: part[name].tolist() for name in NULLS.values() if name in part}
        found = verdict(part["recovered"].tolist(), nulls)
        rows.append(
            {
                **dict(zip([*SETTING, "reading", "planted"], key, strict=True)),
                "seeds": len(part),
                "recovered": found.mean,
                "spread": part["recovered"].std(),
                "within_one": float((part["recovered"] - part["planted"]).abs().le(1).mean()),
                **found.null_means,
                "verdict": found.words,
            }
        )
    return pd.DataFrame(rows)


@torch.no_grad()
def prompt(method: Method) -> Float64[np.ndarray, "n d"]:
    """The current P."""
    return method().numpy().astype(np.float64)


def initial_method(config: MethodConfig, d: int, seed: int) -> Method:
    """The method in its initial state, from a Gaussian vocabulary."""
    generator = torch_generator(seed, "init")
    vocabulary = torch.randn((config.prompt_length, d), generator=generator)
    return build(config, InitSources(vocabulary, labels=vocabulary[:0]), generator)


def _positive(method: Method) -> float | None:
    """Positive entries of σ; None without a diagonal."""
    sigma = method.diagonal()
    return None if sigma is None else float(rank.sign_counts(sigma.detach().numpy())["n_positive"])
