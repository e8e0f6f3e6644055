"""From gradients to updates: AdamW, the schedule, clipping. A run and its twins use the same code."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

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


class Optimization:
    """A method with its optimizer. A run and its twins differ only in the gradient that reaches P."""

    def __init__(self, method: Method, backbone: nn.Module, config: TrainingConfig, total_steps: int) -> None:
        self.method = method
        self.backbone = backbone
        self.config = config
        self.total_steps = total_steps
        self.trained = method.trainable(backbone)
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.trained.items():
            parameter.requires_grad = True
            groups.setdefault(method.rates().get(name, 1.0), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "share": share} for share, parameters in groups.items()],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )

    def copy(self) -> Optimization:
        """An equal method with a new optimizer; buffers, which never change, are shared."""
        frozen: dict[int, Any] = {id(buffer): buffer for buffer in self.method.buffers()}
        return Optimization(copy.deepcopy(self.method, frozen), self.backbone, self.config, self.total_steps)

    def update(self, step: int) -> dict[str, float]:
        """Clip the gradients, apply update `step` (from 1 on), and clear the gradients.

        Returns:
            `lr`, `grad_norm` over all factors and `grad_norm_<factor>`; norms are those before clipping.

        Raises:
            RunFailed: a gradient is not finite; nothing was changed.
        """
        norms = {name: _gradient_norm(factor) for name, factor in self.method.named_parameters()}
        norm = nn.utils.get_total_norm([p.grad for p in self.trained.values() if p.grad is not None])
        rate = self.config.learning_rate * rate_factor(step, self.total_steps, self.config.warmup_ratio)
        if not torch.isfinite(norm):
            raise RunFailed(f"gradient norm {float(norm):g} over the factors")
        nn.utils.clip_grads_with_norm_(self.trained.values(), self.config.clip_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {
            "lr": rate,
            "grad_norm": float(norm),
            **{f"grad_norm_{name}": value for name, value in norms.items()},
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


def _gradient_norm(parameter: nn.Parameter) -> float:
    return 0.0 if parameter.grad is None else float(torch.linalg.vector_norm(parameter.grad))
