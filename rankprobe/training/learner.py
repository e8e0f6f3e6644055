"""A method with its optimizer: what a run trains, and what its noise twin trains beside it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rankprobe.errors import RunFailed
from rankprobe.prompts.base import Method
from rankprobe.training.config import TrainingConfig


def rate_factor(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate used by update `step` of 1 … `total`.

    Linear warm-up over the first `warmup` share of the steps, then linear decay, as in Hugging Face's
    `get_linear_schedule_with_warmup`: the first update has rate 0.
    """
    done, rising = step - 1, int(warmup * total)
    if done < rising:
        return done / max(1, rising)
    return max(0.0, (total - done) / max(1, total - rising))


class Learner:
    """Applies gradients to a method: AdamW, linear schedule, clipping. One per run, one per twin.

    A run and its twin differ in the gradient that reaches P and in nothing else.
    """

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

    def copy(self) -> Learner:
        """A fresh learner whose method starts equal to this one; they share what is never changed."""
        frozen: dict[int, Any] = {id(buffer): buffer for buffer in self.method.buffers()}
        return Learner(copy.deepcopy(self.method, frozen), self.backbone, self.config, self.total_steps)

    def update(self, step: int) -> dict[str, float]:
        """Clip the gradients, apply update `step` (from 1 on), and clear them.

        Returns:
            `lr`, `grad_norm` over all factors and `grad_norm_<factor>`, the norms before clipping.

        Raises:
            RunFailed: a gradient is not finite; nothing was changed.
        """
        norms = {name: _gradient_norm(factor) for name, factor in self.method.named_parameters()}
        norm = nn.utils.get_total_norm([p.grad for p in self.trained.values() if p.grad is not None])
        rate = self.config.learning_rate * rate_factor(step, self.total_steps, self.config.warmup)
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

    def update_on_noise(self, noise: NDArray[np.float64], step: int) -> None:
        """Apply update `step` of a noise twin: `noise` (n, d) takes the place of ∂L/∂P.

        Raises:
            RunFailed: a gradient or the penalty is not finite, or a factor or P is not after the update.
        """
        P = self.method()
        P.backward(torch.from_numpy(noise).to(P.device, P.dtype))
        if (penalty := self.method.penalty()) is not None:
            _check_finite("the penalty", penalty)
            penalty.backward()
        self.update(step)
        with torch.no_grad():
            for name, tensor in {**self.trained, "P": self.method()}.items():
                _check_finite(name, tensor)

    def state(self) -> dict[str, Tensor]:
        """Factors and optimizer moments by name."""
        tensors = {f"factor.{name}": parameter.detach() for name, parameter in self.trained.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        return tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a saved `state`."""
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


def _check_finite(name: str, tensor: Tensor) -> None:
    if not torch.isfinite(tensor).all():
        raise RunFailed(f"{name} holds NaN or infinite entries")
