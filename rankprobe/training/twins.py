"""Nulls that train along: prompts like the run's, fed other gradients than its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, vmap

from rankprobe.prompts.base import Method
from rankprobe.training.gradients import Gradients
from rankprobe.training.optimization import Optimization, new_optimizer, take_step
from rankprobe.twins import TWINS, further_draws, twin_prefix


class Twins:
    """The twins of a run: the same start, optimizer and schedule, and a gradient of their own.

    All are trained at once: `stack[name]` holds the factor `name` of all T twins, (T, …), and the factors in
    `methods` are views of it. Each twin is clipped by its own norm.

    A twin that diverges gets NaN factors. The others and the run do not depend on it.

    Attributes:
        names: the kinds of their gradients, as in `rankprobe.twins`, then those of `further_draws`; () for a
            run without twins.
        gradients: follows the gradients of the run, and makes those of the twins.
        methods: the method of each twin by name.
        P: the prompts of all twins, (T, n, d), with the graph that the next update needs.
        sigma: their diagonals, (T, r); (T, 0) for methods without one.
        diverged: the step at which a twin diverged, by name.
        problems: what was not finite then, by name.
    """

    P: Float[Tensor, "T n d"]
    penalty: Float[Tensor, " T"]
    sigma: Float[Tensor, "T r"]

    def __init__(self, optimization: Optimization, kinds: Sequence[str], seed: int, draws: int = 1) -> None:
        """
        Args:
            optimization: of the run.
            kinds: of the twins.
            seed: of the run.
            draws: number of twins of each kind of `rankprobe.twins.REPEATED`.
        """
        self.names = (*kinds, *further_draws(kinds, draws))
        self.gradients = Gradients(seed, self.names)
        self.diverged: dict[str, int] = {}
        self.problems: dict[str, str] = {}
        self.config, self.total_steps = optimization.config, optimization.total_steps
        own = optimization.method
        frozen: dict[int, Any] = {id(buffer): buffer for buffer in own.buffers()}  # shared: they never change
        self.methods = {name: copy.deepcopy(own, dict(frozen)) for name in self.names}
        self.stack = {
            name: nn.Parameter(p.detach().expand(len(self.names), *p.shape).clone())
            for name, p in own.named_parameters()
        }
        for i, method in enumerate(self.methods.values()):
            for name, parameter in method.named_parameters():
                parameter.data = self.stack[name].data[i]
        if self.names:
            self.optimizer = new_optimizer(self.stack, own.rates(), self.config)
            self._produce = _Produce(self.methods[self.names[0]])
            self._forward()

    def update(
        self, step: int, gradient: Float64[np.ndarray, "n d"], flipped: Tensor | None = None
    ) -> dict[str, float | None]:
        """Apply update `step` to the twins.

        Args:
            step: from 1 on.
            gradient: ∂L/∂P of the run, finite.
            flipped: Σ εᵢ gᵢ over the examples of the batch, (n, d), for an example-flip twin.

        Returns:
            The columns of `gradients.STATISTICS`.
        """
        statistics = self.gradients.note(gradient)
        if self.active:
            self._apply(step, self.gradients.of_twins(step, flipped))
        return statistics

    def _apply(self, step: int, gradients: Float[Tensor, "T n d"]) -> None:
        given = [
            (self.P, gradients.to(self.P.dtype).to(self.P.device)),
            (self.penalty, torch.ones_like(self.penalty)),
        ]
        used = [(tensor, grad) for tensor, grad in given if tensor.requires_grad]
        torch.autograd.backward([tensor for tensor, _ in used], [grad for _, grad in used])
        found = [p.grad.flatten(1) for p in self.stack.values() if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(grad, dim=1) for grad in found]).norm(dim=0)
        for grad in found:
            grad.mul_((self.config.clip_norm / (norms + 1e-6)).clamp(max=1)[:, None])  # as torch clips
        take_step(self.optimizer, self.config, step, self.total_steps)
        self._forward()
        # A sum is finite if all entries are, and it costs less than a look at each.
        sums = {name: each.detach().flatten(1).sum(1) for name, each in {"P": self.P, **self.stack}.items()}
        finite = torch.stack([norms, *sums.values()]).isfinite().T.tolist()
        for twin, i in self.active.items():
            is_finite = dict(zip(["its gradient", *sums], finite[i], strict=True))
            if bad := [name for name, value in is_finite.items() if not value]:
                self.diverge(twin, step, f"{bad[0]} holds NaN or infinite entries")

    def diverge(self, twin: str, step: int, problem: str) -> None:
        """Mark a twin as diverged at `step`."""
        self.diverged[twin], self.problems[twin] = step, problem

    @property
    def active(self) -> dict[str, int]:
        """The places in the stack of the twins that have not diverged, by name."""
        return {name: i for i, name in enumerate(self.names) if name not in self.diverged}

    @property
    def logged(self) -> dict[str, int]:
        """The same for the first twin of each kind, which is logged at every step."""
        return {name: i for name, i in self.active.items() if name in TWINS}

    @property
    def further(self) -> dict[str, int]:
        """The same for the further draws."""
        return {name: i for name, i in self.active.items() if name not in TWINS}

    def state(self) -> dict[str, Tensor]:
        """What a resume needs: factors and moments of the twins that have not diverged, and the gradients."""
        tensors = {f"gradients.{name}": value for name, value in self.gradients.state().items()}
        for twin, i in self.active.items():
            prefix = twin_prefix(twin)
            for name, parameter in self.stack.items():
                tensors[f"{prefix}factor.{name}"] = parameter.detach()[i]
                for key, value in self.optimizer.state.get(parameter, {}).items():
                    tensors[f"{prefix}optimizer.{name}.{key}"] = value[i] if value.dim() else value
        return tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], lost: Mapping[str, int]) -> None:
        """Restore what `state` returned.

        Args:
            tensors: by name; in checkpoints of earlier versions, the only twin has the prefix `twin.`, and
                there are no gradients.
            lost: by name the step at which a twin diverged before.
        """
        if gradients := below("gradients.", tensors):
            self.gradients.load(gradients)
        for twin, i in self.active.items():
            if twin in lost:
                self.diverge(twin, lost[twin], "before the resume")
                continue
            own = below(twin_prefix(twin), tensors) or below("twin.", tensors)
            for name, parameter in self.stack.items():
                parameter[i].copy_(own[f"factor.{name}"])
                for key, value in below(f"optimizer.{name}.", own).items():
                    moments = self.optimizer.state[parameter]
                    if value.dim():
                        moments.setdefault(key, torch.zeros_like(parameter))[i].copy_(value)
                    else:
                        moments[key] = value
        if self.names:
            self._forward()

    @torch.enable_grad()
    def _forward(self) -> None:
        """Compute prompts, penalties and diagonals of all twins."""
        factors = {f"method.{name}": parameter for name, parameter in self.stack.items()}
        self.P, self.penalty, self.sigma = vmap(lambda each: functional_call(self._produce, each))(factors)


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, by the rest of the name."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


class _Produce(nn.Module):
    """P, penalty and diagonal of a method, in one call for `functional_call`."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        P, penalty, sigma = self.method(), self.method.penalty(), self.method.diagonal()
        return (
            P,
            P.new_zeros(()) if penalty is None else penalty,
            P.new_zeros(0) if sigma is None else sigma.clone(),
        )
