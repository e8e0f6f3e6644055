"""What is measured at each step. Reads the members, never changes them.

A row of `steps` belongs to one optimizer update: `loss` and gradient norms were taken *before* it, on the
batch that caused it; sign counts and rank measures describe the prompt *after* it. Row 0 is the initial
state and has no loss.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankprobe.errors import RunFailed
from rankprobe.prompts.base import Method
from rankprobe.rank import LOGGED, MEASURES, NotConverged, gram_singular_values, revived, sign_counts
from rankprobe.runs.files import AppendLog
from rankprobe.runs.folder import LOGS
from rankprobe.training.config import LoggingConfig


@dataclass(frozen=True)
class StepRecord:
    """What a hook sees after each step; all of it copies.

    Attributes:
        run_id: the member's run.
        step: optimizer updates so far, of `total_steps`.
        row: the row that is about to be written to `steps`.
        evals: rows of `evals` if this step was evaluated, else empty.
        prompt: P after the update, (n, d), on the CPU.
        factors: the method's parameters by name, on the CPU.
    """

    run_id: str
    step: int
    total_steps: int
    row: Mapping[str, Any]
    evals: Sequence[Mapping[str, Any]]
    prompt: Tensor
    factors: Mapping[str, Tensor]


Hook = Callable[[StepRecord], Mapping[str, float] | None]
"""Called after each step; numbers it returns become columns of that step's row, NaN and infinity as null."""


class Recorder:
    """Writes one run's logs."""

    def __init__(
        self,
        folder: Path,
        config: LoggingConfig,
        hooks: Sequence[Hook],
        methods: Mapping[str, Method],
        initial: Tensor,
        total_steps: int,
    ) -> None:
        """
        Args:
            folder: the run folder.
            config: which steps are measured.
            hooks: called after each step, in order.
            methods: the run's method under `""`, and its noise twin under `"twin_"`: column prefixes.
            initial: P0, (n, d), which run and twin share.
            total_steps: the last step, which is always measured.
        """
        self.folder = folder
        self.config = config
        self.hooks = hooks
        self.methods = methods
        self.initial = _numpy(initial)
        self.total_steps = total_steps
        self.logs = {name: AppendLog(folder / f"{name}.jsonl") for name in LOGS}
        self.sigma = {prefix: _sigma(method) for prefix, method in methods.items()}

    @torch.no_grad()
    def record(
        self, step: int, update: Mapping[str, float], evals: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Measure the state after `step`, call the hooks, and append to the logs; returns the row.

        Raises:
            RunFailed: the prompt is not finite, or a hook's column is taken; nothing was written.
        """
        row, spectrum = {"step": step, **update, **self._signs()}, []
        ranks_due = step % self.config.rank_every == 0 or step == self.total_steps
        spectrum_due = step % self.config.spectrum_every == 0 or step == self.total_steps
        if len(self.initial) and (ranks_due or spectrum_due):
            spectra = self._spectra(step)
            row |= _measures(spectra, self.initial.shape) if ranks_due and spectra else {}
            spectrum = _long(step, spectra | self._named_sigma()) if spectrum_due else []
        row |= self._from_hooks(step, row, evals)
        self.logs["spectra"].write(spectrum)
        self.logs["evals"].write(evals)
        self.logs["steps"].write([row])
        return row

    def sync(self) -> dict[str, dict[str, Any]]:
        """Force the logs to disk; returns their lengths in bytes and the checksums of these bytes."""
        return {name: asdict(log.sync()) for name, log in self.logs.items()}

    def close(self) -> None:
        for log in self.logs.values():
            log.close()

    def _signs(self) -> dict[str, int]:
        """Sign counts of σ and revived entries, of methods that have a diagonal."""
        row: dict[str, int] = {}
        for prefix, method in self.methods.items():
            before, after = self.sigma[prefix], _sigma(method)
            if before is not None and after is not None:
                counts = {**sign_counts(after), "n_revived": revived(before, after)}
                row |= {f"{prefix}{name}": value for name, value in counts.items()}
                self.sigma[prefix] = after
        return row

    def _spectra(self, step: int) -> dict[str, NDArray[np.float64]]:
        """Singular values of P and ΔP of run and twin; none where LAPACK finds none: the training goes on."""
        prompts = {f"{prefix}P": _numpy(method()) for prefix, method in self.methods.items()}
        for name, P in prompts.items():
            if not np.isfinite(P).all():
                raise RunFailed(f"{name} holds NaN or infinite entries")
        moved = {f"{name[:-1]}dP": P - self.initial for name, P in prompts.items()}
        matrices = prompts | moved
        try:
            stack = gram_singular_values(np.stack(list(matrices.values())))
        except NotConverged as error:
            warnings.warn(f"{self.folder.name}: no ranks at step {step}: {error}", stacklevel=2)
            return {}
        return dict(zip(matrices, stack, strict=True))

    def _named_sigma(self) -> dict[str, NDArray[np.float64]]:
        return {f"{prefix}sigma": s for prefix, s in self.sigma.items() if s is not None}

    def _from_hooks(
        self, step: int, row: Mapping[str, Any], evals: Sequence[Mapping[str, Any]]
    ) -> dict[str, float | None]:
        columns: dict[str, float | None] = {}
        for hook in self.hooks:
            method = self.methods[""]
            record = StepRecord(
                run_id=self.folder.name,
                step=step,
                total_steps=self.total_steps,
                row=dict(row),
                evals=[dict(each) for each in evals],
                prompt=method().cpu().clone(),
                factors={name: p.detach().cpu().clone() for name, p in method.named_parameters()},
            )
            for name, value in (hook(record) or {}).items():
                if name in row or name in columns:
                    raise RunFailed(f"a hook returned the column '{name}', which the log has already")
                columns[name] = float(value) if math.isfinite(value) else None
        return columns


def _measures(spectra: Mapping[str, NDArray[np.float64]], shape: tuple[int, ...]) -> dict[str, float]:
    """Each measure of each matrix, `<matrix>_<measure>`, from one stack of singular values."""
    stack = np.stack(list(spectra.values()))
    values = {name: MEASURES[name](stack, (shape[0], shape[1])) for name in LOGGED}
    return {
        f"{matrix}_{name}": float(column[i])
        for i, matrix in enumerate(spectra)
        for name, column in values.items()
    }


def _long(step: int, vectors: Mapping[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    return [
        {"step": step, "matrix": name, "index": i, "value": value}
        for name, vector in vectors.items()
        for i, value in enumerate(vector.tolist())
    ]


def _sigma(method: Method) -> NDArray[np.float64] | None:
    sigma = dict(method.named_parameters()).get("sigma")
    return None if sigma is None else _numpy(sigma)


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
