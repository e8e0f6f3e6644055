"""Gates for the diagonal of the probe, on planted ranks: `python benchmarks/gates.py`, some minutes a gate.

Trains prompts P = U · gate(diag σ) · V (100 × 128) towards matrices of known rank, and on noise alone, with
the optimizer and the noises of the package. `-ortho` replaces U and V by the orthonormal factors of their QR
decompositions, as the setting `orthonormal` does. The other gates are not in the package:

- `soft`: each update is followed by soft thresholding of σ, the proximal step of an L1 penalty; the entries
  that are not 0 count. The threshold is `weight` times the learning rate.
- `hard-concrete`: each entry of σ times a hard concrete gate (Louizos et al. 2018, 1712.01312), with
  `weight` times the expected number of open gates in the loss; the gates that are open at test time count.
- `ard`: Gaussian noise of trained variance on each σ, with `weight` times the approximate KL divergence of
  Molchanov et al. (2017, 1701.05369); the entries with a variance below e³ σ² count, as there.

`weight` is chosen on two seeds that are not used further.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from rankprobe.config.sections import TrainingConfig
from rankprobe.prompts.config import ProbeConfig
from rankprobe.prompts.probe import orthonormal
from rankprobe.rank.verdict import verdict
from rankprobe.studies.calibration import initial_method, planted_matrix
from rankprobe.studies.grid import NOISES, noises
from rankprobe.training.optimization import new_optimizer, take_step

SHAPE = (100, 128)
PLANTED = (0, 1, 5, 10, 20, 50)
TUNING_SEEDS, TUNING_PLANTED = (100, 101), (0, 5, 20)

WEIGHTS = {
    "relu": (0.0,),
    "relu-ortho": (0.0,),
    "soft": (0.3, 0.6, 0.8),
    "soft-ortho": (0.3, 0.6, 0.8),
    "hard-concrete": (100.0, 300.0, 1000.0),
    "hard-concrete-ortho": (3.0, 10.0, 30.0),
    "ard": (100.0, 300.0, 1000.0),
    "ard-ortho": (3.0, 10.0, 30.0),
}
"""The weights that are tried, by gate."""

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Of the hard concrete distribution (the values of Louizos et al. 2018)."""

TWIN = "gaussian twin"
"""The null of a run: noise alone, i.i.d., from draws of its own."""


class Probes(nn.Module):
    """M probes at once. U (M, n, r), σ (M, r), V (M, r, d)."""

    def __init__(self, U: Tensor, sigma: Tensor, V: Tensor, gate: str, weight: float) -> None:
        super().__init__()
        self.gate, self.ortho, self.weight = gate.removesuffix("-ortho"), gate.endswith("-ortho"), weight
        gate = self.gate
        self.U, self.sigma, self.V = nn.Parameter(U), nn.Parameter(sigma), nn.Parameter(V)
        self.generator = torch.Generator().manual_seed(0)
        if gate == "hard-concrete":
            self.log_alpha = nn.Parameter(torch.full_like(sigma, 2.0))
        if gate == "ard":
            self.log_variance = nn.Parameter(torch.full_like(sigma, -4.0))

    def forward(self) -> Float[Tensor, "M n d"]:
        U, V = (orthonormal(self.U), orthonormal(self.V.mT).mT) if self.ortho else (self.U, self.V)
        return (U * self.gated()[:, None, :]) @ V

    def gated(self) -> Float[Tensor, "M r"]:
        if self.gate == "relu":
            return torch.relu(self.sigma)
        if self.gate == "hard-concrete":
            u = torch.rand(self.sigma.shape, generator=self.generator).clamp(1e-6, 1 - 1e-6)
            s = torch.sigmoid((torch.logit(u) + self.log_alpha) / BETA)
            return self.sigma * (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
        if self.gate == "ard":
            noise = torch.randn(self.sigma.shape, generator=self.generator)
            return self.sigma + (self.log_variance / 2).exp() * noise
        return self.sigma

    def penalty(self) -> Tensor | None:
        if self.gate == "hard-concrete":
            is_open = torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA))
            return self.weight * is_open.sum()
        if self.gate == "ard":
            ratio = self.log_ratio()
            k1, k2, k3 = 0.63576, 1.87320, 1.48695
            return (
                -self.weight * (k1 * torch.sigmoid(k2 + k3 * ratio) - torch.log1p((-ratio).exp()) / 2).sum()
            )
        return None

    def log_ratio(self) -> Float[Tensor, "M r"]:
        """The log of variance over σ², log α of Molchanov et al."""
        return self.log_variance - (self.sigma.square() + 1e-8).log()

    @torch.no_grad()
    def after_update(self, rate: float) -> None:
        if self.gate == "soft":
            self.sigma.copy_(self.sigma.sign() * torch.relu(self.sigma.abs() - rate * self.weight))

    @torch.no_grad()
    def counts(self) -> Tensor:
        """The entries that count, (M,)."""
        if self.gate == "relu":
            counted = self.sigma > 0
        elif self.gate == "soft":
            counted = self.sigma != 0
        elif self.gate == "hard-concrete":
            counted = torch.sigmoid(self.log_alpha) * (ZETA - GAMMA) + GAMMA > 0
        else:
            counted = self.log_ratio() < 3
        return counted.sum(1)


def trained(
    gate: str,
    weight: float,
    seeds: Sequence[int],
    planted: Sequence[int],
    snr: float,
    steps: int,
) -> pd.DataFrame:
    """Train a prompt per noise, planted rank and seed: rows with `count` and `error`, ‖P − target‖² / nd."""
    members = [(noise, r, seed) for noise in NOISES for r in planted for seed in seeds]
    members += [(TWIN, 0, seed) for seed in seeds]
    starts = {seed: initial_method(ProbeConfig(prompt_length=SHAPE[0]), SHAPE[1], seed) for seed in seeds}
    U, sigma, V = (
        torch.stack([starts[seed].get_parameter(name).detach() for _, _, seed in members])
        for name in ("U", "sigma", "V")
    )
    probes = Probes(U, sigma, V, gate, weight)
    target = torch.stack(
        [
            torch.from_numpy(planted_matrix(r, SHAPE, seed)) if r else torch.zeros(SHAPE)
            for _, r, seed in members
        ]
    ).float()
    has_target = torch.tensor([float(r > 0) for _, r, _ in members])[:, None, None]
    kinds = {
        (noise, seed): noises("iid" if noise == TWIN else noise, SHAPE, seed, int(noise == TWIN), steps)
        for noise, _, seed in members
    }
    places = torch.tensor([list(kinds).index((noise, seed)) for noise, _, seed in members])
    config = TrainingConfig(steps=steps)
    parameters = dict(probes.named_parameters())
    optimizer = new_optimizer(parameters, {}, config)
    for step in range(1, steps + 1):
        drawn = torch.from_numpy(np.stack([next(each) for each in kinds.values()])).float()[places]
        P = probes()
        P.backward(2 / snr * drawn + 2 * has_target * (P.detach() - target))
        if (penalty := probes.penalty()) is not None:
            penalty.backward()
        clip(parameters.values(), config.clip_norm)
        probes.after_update(take_step(optimizer, config, step, steps))
    error = (probes().detach() - target).square().mean((1, 2))
    frame = pd.DataFrame(members, columns=["noise", "planted", "seed"])
    about = {"gate": gate, "weight": weight, "snr": snr}
    return frame.assign(count=probes.counts().numpy(), error=error.numpy(), **about)


def clip(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Clip the gradients of each member by its own norm."""
    grads = [p.grad.flatten(1) for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(grad, dim=1) for grad in grads]).norm(dim=0)
    for grad in grads:
        grad.mul_((largest / (norms + 1e-6)).clamp(max=1)[:, None])


def within_two(frame: pd.DataFrame) -> pd.Series:
    """Per seed, the number of cells (kind of noise × planted rank) whose count is within two."""
    own = frame[frame["noise"] != TWIN]
    return ((own["count"] - own["planted"]).abs() <= 2).groupby(own["seed"]).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--snr", type=float, default=0.2, help="signal-to-noise ratio of a gradient at P = 0")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--gates", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument("--output", type=Path, help="write all counts as CSV")
    given = parser.parse_args()
    frames: list[pd.DataFrame] = []
    for gate in given.gates:
        weight, *others = WEIGHTS[gate]
        if others:
            tuning = (TUNING_SEEDS, TUNING_PLANTED, given.snr, given.steps)
            weight = max(WEIGHTS[gate], key=lambda each: within_two(trained(gate, each, *tuning)).sum())
        frame = trained(gate, weight, range(given.seeds), PLANTED, given.snr, given.steps)
        frames.append(frame)
        cells = frame.groupby(["noise", "planted"], sort=False)["count"]
        table = cells.agg(lambda counts: f"{counts.mean():.0f} ({counts.min()}-{counts.max()})").unstack()
        print(f"\n{gate}, weight {weight:g} of {WEIGHTS[gate]}\n{table.fillna('').to_string()}")
        near, first = within_two(frame), within_two(frames[0])
        words = verdict(near.tolist(), {given.gates[0]: first.tolist()}).words
        print(
            f"cells within two, by seed: {near.tolist()}; compared with {given.gates[0]}: {words}", flush=True
        )
        if given.output:
            pd.concat(frames).to_csv(given.output, index=False)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
