"""How often does a verdict call the probe different from its twins where there is no task, and where it is?

`python -m rankprobe.studies null-size` trains 120 runs of each kind of gradients, in some minutes on one
core, and prints the complete tables. False verdicts in percent, at the level of 1 %, for the worst of the
three readings (200 draws):

                         all twins             Gaussian twin alone
                         5 seeds   8 seeds     5 seeds   8 seeds
    iid                    0.0       0.0          1.5       1.0
    lognormal rows         0.0       0.0          4.0       3.0
    anisotropic columns    0.0       0.0          5.5      16.0
    AR(0.4)                0.0       0.0          9.0      19.0
    AR(0.9)                0.0       3.0         89.0     100.0
    heavy tails            0.0       0.0          1.5       1.5
    noisy AR(0.9)          0.0       2.0         77.5     100.0

So no verdict of all twins together is false at 5 seeds, and at most 3 % are at 8. Correlation over steps is
the weak point: AR(0.9) stays correlated for 19 of the 100 steps, so a block of the block-flip twin is 57
steps, and a run has fewer than two blocks.

For the noisy AR(0.9), the cosine of successive gradients is 0.36, as most of a gradient is noise. This hides
for how long the rest is correlated. So the length of blocks follows from the ratio of the cosines at lags 2
and 1 (`training.gradients`). With the cosine at lag 1 in its place, blocks were 7 steps, and with all twins
41.5 % of verdicts were false at 8 seeds (5.0 % for AR(0.9)).

These gradients do not depend on P, like those of the twins. Those of a loss do. A pull of c (P − P0) with
c = 0.1, or of c P with c = 0.01, is added to i.i.d. noise. There is still no task, but at 5 seeds a verdict
is above (a) or below (b) all twins in this share of draws, in percent; means of 120 runs, with the largest
mean of a twin:

                    pull to P0              pull to 0
    n_positive      15.1 (12.1)     0        0.2 (12.1)    94 b
    P_erank_rv      10.8 (5.6)     98 a      0.1 (5.6)    100 b
    dP_erank_rv     17.3 (7.0)     99 a     14.4 (7.1)    100 a

So a verdict says that a run differs from training on noise. It does not say that the task is the reason: for
that, compare with runs on shuffled labels, whose gradients react to P too.

The power, in percent, for an effect that is added to the reading of the run (in standard deviations of its
difference to a twin; mean over the first six kinds):

                    3 seeds               5 seeds               8 seeds
    effect          2     4     8         2     4     8         2     4     8
    n_positive      1    15    73        43    99   100        93   100   100
    P_erank_rv      0     9    68        33    97   100        82   100   100
    dP_erank_rv     0     8    68        25    95   100        81   100   100
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import nn

from rankprobe import rank
from rankprobe.config.sections import TrainingConfig
from rankprobe.data.seeding import numpy_generator
from rankprobe.prompts.config import ProbeConfig
from rankprobe.studies.calibration import initial_method, prompt
from rankprobe.training.optimization import Optimization
from rankprobe.training.twins import Twins
from rankprobe.twins import TWINS

KINDS = ("iid", "lognormal rows", "anisotropic columns", "AR(0.4)", "AR(0.9)", "heavy tails")
"""Kinds of gradients without a task; see `example_gradients`."""

PULLS = {"pull to P0": (0.1, 1.0), "pull to 0": (0.01, 0.0)}
"""Kinds of gradients that react to P without a task: noise plus c (P − a P0), with c and a."""

AUTOREGRESSIONS = {"AR(0.4)": (0.4, 0.8), "AR(0.9)": (0.9, 0.8), "noisy AR(0.9)": (0.9, 0.4)}
"""Autocorrelation φ of the part that all examples share, and the share of this part in the variance."""

READINGS = ("n_positive", "P_erank_rv", "dP_erank_rv")
"""The number of positive entries of σ, and the effective ranks of P and ΔP."""

SHAPE, STEPS, BATCH, LEARNING_RATE = (20, 32), 100, 8, 0.3
"""With these, noise leaves about 12 of 20 entries positive."""


def example_gradients(kind: str, seed: int) -> Iterator[Float[np.ndarray, "B n d"]]:
    """Yield the gradients of the examples of a batch for each step. Their mean is zero: there is no task.

    - `iid`: standard normal entries.
    - `lognormal rows`: row i times exp(zᵢ), with zᵢ standard normal and fixed for a seed.
    - `anisotropic columns`: the columns times 1, 1/2, …, 1/d, in an order that is fixed for a seed.
    - `heavy tails`: entries from Student's t with 2 degrees of freedom, which has no variance.
    - `AR(φ)`: a part that all examples of a batch share, and that follows a first-order autoregression over
      steps, plus i.i.d. noise of each example. Only the shared part is correlated over steps, as successive
      batches have no example in common. Flips of examples therefore destroy the correlation.

    For the kinds of `PULLS` the noise is i.i.d.; `null_run` adds the pull.

    Raises:
        KeyError: an unknown kind.
    """
    (n, d), start = SHAPE, numpy_generator(seed, "shots")
    scales = {
        "lognormal rows": start.lognormal(size=(n, 1)),
        "anisotropic columns": start.permutation(1 / np.arange(1, d + 1)),
    }
    phi, shared = AUTOREGRESSIONS[kind] if "AR" in kind else (0.0, 0.0)
    common = start.standard_normal(SHAPE)
    for step in range(1, STEPS + 1):
        rng = numpy_generator(seed, "order", step)
        if kind == "heavy tails":
            yield rng.standard_t(2, (BATCH, n, d))
            continue
        own = rng.standard_normal((BATCH, n, d)) / np.sqrt(BATCH)
        common = phi * common + np.sqrt(1 - phi**2) * rng.standard_normal(SHAPE)
        yield scales.get(kind, 1.0) * (np.sqrt(shared) * common / BATCH + np.sqrt(1 - shared) * own)


def null_run(kind: str, seed: int, twins: Sequence[str] = tuple(TWINS)) -> pd.DataFrame:
    """Train the probe and its twins on gradients without a task.

    Returns:
        A row per reading of `READINGS`: `kind`, `seed`, `reading`, `run`, and a column per twin.
    """
    training = TrainingConfig(learning_rate=LEARNING_RATE, steps=STEPS)
    method = initial_method(ProbeConfig(prompt_length=SHAPE[0]), SHAPE[1], seed)
    optimization = Optimization(method, nn.Module(), training, STEPS)
    null, P0 = Twins(optimization, list(twins), seed), prompt(method)
    strength, start = PULLS.get(kind, (0.0, 0.0))
    for step, noise in enumerate(example_gradients(kind, seed), 1):
        examples = noise + strength / BATCH * (prompt(method) - start * P0)
        signs = null.gradients.signs(step, BATCH)
        flipped = None if signs is None else torch.from_numpy(np.tensordot(signs, examples, 1))
        gradient = examples.sum(axis=0)
        optimization.update_with(gradient, step)
        null.update(step, gradient, flipped)
    found = {}
    for name, trained in {"run": method, **null.methods}.items():
        P, sigma = prompt(trained), trained.diagonal()
        assert sigma is not None
        eranks = np.atleast_1d(rank.erank_rv(rank.singular_values(np.stack([P, P - P0])), SHAPE))
        found[name] = [rank.sign_counts(sigma.detach().numpy())["n_positive"], *eranks]
    readings = pd.DataFrame(found, index=pd.Index(READINGS, name="reading"), dtype=float).reset_index()
    return readings.assign(kind=kind, seed=seed)


def null_runs(kinds: Sequence[str] = KINDS, seeds: Sequence[int] = range(120)) -> pd.DataFrame:
    """The rows of `null_run` for all kinds and seeds; 720 runs take some minutes."""
    return pd.concat([null_run(kind, seed) for kind in kinds for seed in seeds], ignore_index=True)


def size(
    runs: pd.DataFrame, twins: Sequence[str] = tuple(TWINS), seeds: int = 5, draws: int = 200
) -> pd.DataFrame:
    """The share of verdicts that are above or below, which are false, by kind and reading.

    A draw takes `seeds` different seeds of one kind. Draws share seeds, so that 200 draws of 5 of 120 seeds
    know less than 200 independent ones (of which there are 24). p is not adjusted for the number of readings.

    Args:
        runs: from `null_runs`.
        twins: the nulls of the verdicts.
        seeds: of a verdict.
        draws: verdicts per kind and reading.

    Returns:
        A row per kind and reading: `above`, `below`, shares from 0 to 1.
    """
    return _shares(runs, twins, seeds, draws, 0.0)


def power(
    runs: pd.DataFrame,
    effects: Sequence[float] = (2, 4, 8),
    seeds: Sequence[int] = (3, 5, 8),
    draws: int = 200,
) -> pd.DataFrame:
    """The share of verdicts above all twins, if an effect is added to the reading of the run.

    Args:
        runs: from `null_runs`.
        effects: in standard deviations of the differences to the twin with which they vary most.
        seeds: of a verdict.
        draws: verdicts per kind, reading, effect and number of seeds.

    Returns:
        A row per kind and reading, and a column per (effect, seeds).
    """
    columns = {
        (effect, count): _shares(runs, tuple(TWINS), count, draws, effect)["above"]
        for effect in effects
        for count in seeds
    }
    return pd.DataFrame(columns).rename_axis(columns=["effect", "seeds"])


def _shares(runs: pd.DataFrame, twins: Sequence[str], seeds: int, draws: int, effect: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = {}
    for key, part in runs.groupby(["kind", "reading"], sort=False):
        null = part[list(twins)].to_numpy()
        own = part["run"].to_numpy()
        own = own + effect * (own[:, None] - null).std(axis=0, ddof=1).max()
        sides = []
        for _ in range(draws):
            drawn = rng.choice(len(own), seeds, replace=False)
            nulls: Mapping[str, np.ndarray] = dict(zip(twins, null[drawn].T, strict=True))
            sides.append(rank.verdict(own[drawn], nulls).side)
        rows[key] = {side: sides.count(side) / draws for side in ("above", "below")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["kind", "reading"])


def report(runs: pd.DataFrame) -> str:
    """Tables of false verdicts by kind, reading and nulls, and of the power, in percent."""
    nulls = {"all twins": tuple(TWINS), **{TWINS[kind]: (kind,) for kind in TWINS}}
    texts = []
    for seeds in (5, 8):
        shares = {name: size(runs, twins, seeds).sum(axis=1) for name, twins in nulls.items()}
        texts.append(f"false verdicts, {seeds} seeds, %\n{(100 * pd.DataFrame(shares)).round(1).to_string()}")
    found = power(runs[runs["kind"].isin(KINDS)]).groupby("reading", sort=False).mean()
    texts.append(f"verdicts above, mean over kinds, %\n{(100 * found).round().astype(int).to_string()}")
    return "\n\n".join(texts)
