"""From gradients to updates: AdamW, the schedule, clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rankprobe.config import TrainingConfig
from rankprobe.errors import RunFailed
from rankprobe.prompts.base import Method


def rate_factor(step: int, total: int, warmup_ratio: float) -> float:
    """Share of the peak learning rate at update `step` of 1 … `total`.

    Linear warm-up over the first `warmup_ratio` of the steps, then linear decay, as in Hugging Face's
    `get_linear_schedule_with_warmup`: the first update has rate 0.
    """
    done, rising = step - 1, int(warmup_ratio * total)
    if done < rising:
        return done / max(1, rising)
    return max(0.0, (total - done) / max(1, total - rising))


def new_optimizer(
    parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float], config: TrainingConfig
) -> torch.optim.AdamW:
    """AdamW over `parameters`; `rates` are their learning rates relative to that of the run, by name."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        parameter.requires_grad = True
        groups.setdefault(rates.get(name, 1.0), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "share": share} for share, group in groups.items()],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )


def take_step(optimizer: torch.optim.AdamW, config: TrainingConfig, step: int, total_steps: int) -> float:
    """Apply update `step` of 1 … `total_steps`, and clear the gradients; returns the learning rate."""
    rate = config.learning_rate * rate_factor(step, total_steps, config.warmup_ratio)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    optimizer.step()
    optimizer.zero_grad()
    return rate


class Optimization:
    """A method with its optimizer."""

    def __init__(self, method: Method, backbone: nn.Module, config: TrainingConfig, total_steps: int) -> None:
        self.method = method
        self.config = config
        self.total_steps = total_steps
        self.trained = method.trainable(backbone)
        self.optimizer = new_optimizer(self.trained, method.rates(), config)

    def update(self, step: int) -> dict[str, float]:
        """Clip the gradients, apply update `step` (from 1 on), and clear the gradients.

        Returns:
            `lr`, `grad_norm` over all factors and `grad_norm_<factor>`; norms are those before clipping.

        Raises:
            RunFailed: a gradient is not finite; nothing was changed.
        """
        norm = nn.utils.get_total_norm([p.grad for p in self.trained.values() if p.grad is not None])
        factors = dict(self.method.named_parameters())
        grads = {name: factor.grad for name, factor in factors.items() if factor.grad is not None}
        norms = [torch.linalg.vector_norm(grad) for grad in grads.values()]
        # One copy to the host for all norms.
        total, *each = torch.stack([norm.to(norms[0]) if norms else norm, *norms]).tolist()
        if not math.isfinite(total):
            raise RunFailed(f"gradient norm {total:g} over the factors")
        nn.utils.clip_grads_with_norm_(self.trained.values(), self.config.clip_norm, norm)
        return {
            "lr": take_step(self.optimizer, self.config, step, self.total_steps),
            "grad_norm": total,
            **{f"grad_norm_{name}": 0.0 for name in factors},
            **{f"grad_norm_{name}": value for name, value in zip(grads, each, strict=True)},
        }

    def update_with(self, gradient: NDArray[np.float64], step: int) -> None:
        """Apply update `step` with a given ∂L/∂P, (n, d), in place of that of a loss.

        Raises:
            RunFailed: a gradient is not finite; nothing was changed.
        """
        P = self.method()
        P.backward(torch.from_numpy(gradient).to(P.device, P.dtype))
        if (penalty := self.method.penalty()) is not None:
            penalty.backward()
        self.update(step)

    def state(self) -> dict[str, Tensor]:
        """Factors and optimizer moments by name."""
        tensors = {f"factor.{name}": parameter.detach() for name, parameter in self.trained.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        return tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, parameter in self.trained.items():
            parameter.copy_(tensors[f"factor.{name}"])
            prefix = f"optimizer.{name}."
            moments = {
                key.removeprefix(prefix): value.to(parameter.device) if value.dim() else value
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
            if moments:
                self.optimizer.state[parameter] = moments
