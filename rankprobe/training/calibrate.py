"""How well does each reading recover a known rank? Prompts trained on planted matrices, no backbone."""

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
from numpy.typing import NDArray
from torch import nn

from rankprobe import rank
from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.prompts import MethodConfig, build
from rankprobe.prompts.base import Method
from rankprobe.prompts.config import DPTConfig, ProbeConfig, VanillaConfig
from rankprobe.prompts.init import Words
from rankprobe.rank.verdict import verdict
from rankprobe.training.config import TrainingConfig
from rankprobe.training.learner import Learner
from rankprobe.training.seeding import numpy_generator, torch_generator

Matrix = NDArray[np.float64]

PLANTED = (0, 1, 2, 5, 10, 20, 50, 100)
"""Planted ranks; 0 is no target at all, a gradient of noise alone."""

CONTENDERS: tuple[MethodConfig, ...] = (
    ProbeConfig(),
    ProbeConfig(gate="straight-through"),
    ProbeConfig(gate="leaky"),
    ProbeConfig(gate="softplus"),
    ProbeConfig(gate="none"),
    DPTConfig(),
    VanillaConfig(),
)

SHARE = 0.95
"""Of the gain in the objective that a functional rank keeps, as in `training.truncate`."""

SETTING = ["method", "gate", "planted_in", "noise", "learning_rate", "steps"]
"""The columns that tell one setting from another; within one, runs differ in planted rank and seed."""


@dataclass(frozen=True)
class Problem:
    """A matrix to find by the gradients of ‖P − target‖²_F, with noise.

    `target` is (n, d), or None where there is nothing to find; `noise` is the standard deviation of the noise
    in each entry of ∂L/∂P.
    """

    target: Matrix | None
    noise: float

    def gradient(self, P: Matrix, rng: np.random.Generator) -> Matrix:
        noise = self.noise * rng.standard_normal(P.shape)
        return noise if self.target is None else noise + 2 * (P - self.target)

    def score(self, prompts: Matrix) -> Matrix:
        """Minus the mean squared error of each of a stack of prompts (…, n, d); 0 with nothing to find."""
        if self.target is None:
            return np.zeros(prompts.shape[:-2])
        return -np.square(prompts - self.target).mean((-2, -1))


def calibrate(
    *,
    methods: Sequence[MethodConfig] = CONTENDERS,
    planted: Sequence[int] = PLANTED,
    noise: Sequence[float] = (5.0,),
    learning_rates: Sequence[float] = (0.3,),
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 1000,
    shape: tuple[int, int] = (100, 128),
    planted_in: Literal["P", "dP"] = "P",
) -> pd.DataFrame:
    """Train prompts towards targets of known rank r, and take every reading of what was learned.

    A target has r equal singular values and entries of root mean square 1, so that on the target itself rank
    measures agree on r: where a reading misses r, the training is why. It is planted in P, or in ΔP: then the
    matrix to find is P0 plus the target.

    Optimizer, schedule, clipping and noise twin are those of runs (`Learner`). The defaults are 168 runs of
    1.5 seconds on one core.

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
        `twin`: the same reading of the noise twin, NaN where a reading is a comparison with the twin. Where
        a twin diverged, its readings and the comparisons with it are NaN, and a warning names the run.

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
    """Every reading of one run and of its twin: `reading`, `recovered`, `twin`."""
    assert training.steps is not None
    learner = Learner(_initial(config, d, seed), nn.Module(), training, training.steps)
    twin = learner.copy()
    P0 = prompt(learner.method)
    target = None if not r else planted_matrix(r, P0.shape, seed) + (P0 if planted_in == "dP" else 0.0)
    # Entries of ∂L/∂P have size 2 where P is as far from what is to be found as zero is from the target.
    problem = Problem(target, 2 * noise)
    lost = descend(learner, twin, problem, seed)
    found = readings(learner.method, P0, problem)
    null = dict.fromkeys(found, math.nan)
    compared = dict.fromkeys(against_twin(learner.method, learner.method, P0), math.nan)
    if lost:
        about = f"{config.name} with planted rank {r}, seed {seed}"
        warnings.warn(f"{about}: the noise twin diverged {lost}; its readings are missing", stacklevel=2)
    else:
        null = readings(twin.method, P0, problem)
        compared = against_twin(learner.method, twin.method, P0)
    found |= compared
    return pd.DataFrame({"recovered": found, "twin": null}).rename_axis("reading").reset_index()


def planted_matrix(r: int, shape: tuple[int, ...], seed: int) -> Matrix:
    """A matrix (n, d) with r equal singular values, its directions random, the mean of its squares 1."""
    # The stream that draws a run's data; the noise, below, is the stream of its batches.
    rng = numpy_generator(seed, "shots")
    left, right = (np.linalg.qr(rng.standard_normal((size, r)))[0] for size in shape)
    return np.sqrt(shape[0] * shape[1] / r) * left @ right.T


def descend(learner: Learner, twin: Learner, problem: Problem, seed: int) -> str:
    """All updates of a run and of its twin, whose gradient is noise of the same norm, as in `Member`.

    Returns:
        At which step the twin diverged, and why; empty if it did not.
    """
    lost = ""
    for step in range(1, learner.total_steps + 1):
        gradient = problem.gradient(prompt(learner.method), numpy_generator(seed, "order", step))
        size = float(np.linalg.norm(gradient))
        _update(learner, gradient, step)
        if not lost:
            noise = rank.gaussian_like(gradient.shape, size, numpy_generator(seed, "twin", step))
            try:
                twin.update_on_noise(noise, step)
            except RunFailed as error:
                lost = f"at step {step} ({error})"
    return lost


def readings(method: Method, P0: Matrix, problem: Problem) -> dict[str, float]:
    """Every reading of one trained method.

    `n_positive` is the paper's count. `P_<measure>` and `dP_<measure>` are `rank.measure` of P and of
    ΔP = P − P0. For the functional ranks see `functional_ranks`.
    """
    P = prompt(method)
    found = {} if (count := _positive(method)) is None else {"n_positive": count}
    for name, whole, start in (("P", P, np.zeros_like(P)), ("dP", P - P0, P0)):
        found |= {f"{name}_{measure}": value for measure, value in rank.measure(whole).items()}
        found |= {f"{name}_{kind}": k for kind, k in functional_ranks(whole, start, problem).items()}
    return found


def functional_ranks(whole: Matrix, start: Matrix, problem: Problem) -> dict[str, float]:
    """The rank of `whole` (n, d) that the objective needs, by two rules.

    Score the best rank-k part of `whole`, added to `start`, for each k; a gain is that over k = 0.
    `functional` is the least k from which on 95 % of the gain of the whole is kept, as in
    `training.truncate`. `functional_best` is the least k that has 95 % of the gain of the best part: where
    the small directions are noise, the whole is not the best, and too few directions would equal it.

    Both are NaN without any gain. The objective is exact here; a score on a dev set has noise of its own.
    """
    ks = range(min(whole.shape) + 1)
    scores = problem.score(start + rank.parts(whole, ks, "top"))
    rising = np.maximum.accumulate(scores)
    return {
        kind: float(rank.least_enough(ks, curve, full=curve[-1], floor=scores[0], share=SHARE))
        for kind, curve in (("functional", scores), ("functional_best", rising))
    }


def against_twin(method: Method, twin: Method, P0: Matrix) -> dict[str, float]:
    """Readings that are comparisons with the noise twin.

    `n_positive_minus_twin` is the difference of the counts. `P_above_twin` and `dP_above_twin` count the
    singular values beyond the twin's largest: Horn's parallel analysis (1965), the twin being the parallel
    data.
    """
    own, null = _positive(method), _positive(twin)
    found = {} if own is None or null is None else {"n_positive_minus_twin": own - null}
    for name, start in (("P", 0.0), ("dP", P0)):
        s, edge = (rank.singular_values(prompt(each) - start) for each in (method, twin))
        found[f"{name}_above_twin"] = float((s > edge[0]).sum())
    return found


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame of `calibrate` over seeds: a row per setting, reading and planted rank.

    Returns:
        `SETTING`, `reading`, `planted`, `seeds`, `recovered` (mean; NaN if never defined), `spread` (standard
        deviation), `within_one` (the share of all seeds at most 1 from the planted rank; an undefined reading
        is not), `twin` (mean), and `verdict`, the words of `rank.verdict` on recovered values and twins.
    """
    rows = []
    for key, part in frame.groupby([*SETTING, "reading", "planted"], sort=False):
        found = verdict(part["recovered"].tolist(), part["twin"].tolist())
        rows.append(
            {
                **dict(zip([*SETTING, "reading", "planted"], key, strict=True)),
                "seeds": len(part),
                "recovered": found.mean,
                "spread": part["recovered"].std(),
                "within_one": float((part["recovered"] - part["planted"]).abs().le(1).mean()),
                "twin": found.null_mean,
                "verdict": found.words,
            }
        )
    return pd.DataFrame(rows)


@torch.no_grad()
def prompt(method: Method) -> Matrix:
    """P as it stands, (n, d), in float64."""
    return method().numpy().astype(np.float64)


def _initial(config: MethodConfig, d: int, seed: int) -> Method:
    """The method in its initial state; its vocabulary is Gaussian."""
    generator = torch_generator(seed, "init")
    vocabulary = torch.randn((config.prompt_length, d), generator=generator)
    return build(config, Words(vocabulary, labels=vocabulary[:0]), generator)


def _positive(method: Method) -> float | None:
    """Positive entries of σ; None without a diagonal."""
    sigma = getattr(method, "sigma", None)
    return None if sigma is None else float(rank.sign_counts(sigma.detach().numpy())["n_positive"])


def _update(learner: Learner, gradient: Matrix, step: int) -> None:
    P = learner.method()
    P.backward(torch.from_numpy(gradient).to(P.dtype))
    if (penalty := learner.method.penalty()) is not None:
        penalty.backward()
    learner.update(step)
