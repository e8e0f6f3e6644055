"""Measures a run after each step and writes its logs. It never changes the run.

A row of `steps` belongs to one optimizer update. `loss` and gradient norms were taken *before* it, on its
batch; sign counts and rank measures describe the prompt *after* it. Row 0 is the initial prompt and has no
loss.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankprobe.config import LoggingConfig, all_settings
from rankprobe.errors import ColumnTaken, RunFailed
from rankprobe.prompts.base import Method
from rankprobe.rank import MEASURES, NotConverged, gram_singular_values, logged_measures, revived, sign_counts
from rankprobe.runs.folder import LOGS
from rankprobe.runs.logs import AppendLog
from rankprobe.runs.step_record import Hook, StepRecord
from rankprobe.training.gradients import STATISTICS
from rankprobe.training.twins import Twins
from rankprobe.twins import TWINS, twin_prefix, twin_title

SIGNS = ("n_positive", "n_negative", "n_zero", "n_revived")
"""Sign counts of σ."""


class Recorder:
    """Writes the logs of one run."""

    def __init__(
        self,
        folder: Path,
        config: LoggingConfig,
        hooks: Sequence[Hook],
        method: Method,
        twins: Twins,
        P0: Tensor,
        total_steps: int,
        taken: Collection[str] = (),
    ) -> None:
        """
        Args:
            folder: the run folder; its logs are opened and appended to.
            config: which steps are measured.
            hooks: called after each step, in order.
            method: of the run.
            twins: its noise twins.
            P0: the initial prompt, (n, d), of run and twins.
            total_steps: updates of the whole run.
            taken: names that hooks may not give to their columns, besides those of settings and of the log.
        """
        self.folder = folder
        self.config = config
        self.hooks = hooks
        self.method = method
        self.twins = twins
        self.initial = _numpy(P0)
        self.total_steps = total_steps
        self.taken = set(taken)
        self.logs = {name: AppendLog(folder / f"{name}.jsonl") for name in LOGS}
        self.sigma = self._diagonals()

    def _diagonals(self) -> dict[str, NDArray[np.float64]]:
        """By column prefix: σ of the run, and of its twins until they diverge; {} without a diagonal."""
        sigma = self.method.diagonal()
        if sigma is None:
            return {}
        diagonals = {"": _numpy(sigma)}
        if self.twins.logged:
            stack = _numpy(self.twins.sigma)
            diagonals |= {twin_prefix(kind): stack[i] for kind, i in self.twins.logged.items()}
        return diagonals

    def _prompts(self) -> dict[str, NDArray[np.float64]]:
        """By column prefix: P of the run, and of its twins until they diverge, (n, d)."""
        prompts = {"": _numpy(self.method())}
        if self.twins.logged:
            stack = _numpy(self.twins.P)
            prompts |= {twin_prefix(kind): stack[i] for kind, i in self.twins.logged.items()}
        return prompts

    @torch.no_grad()
    def record(
        self, step: int, update: Mapping[str, float | None], evals: Sequence[Mapping[str, Any]], *, last: bool
    ) -> dict[str, Any]:
        """Measure the state after `step`, call the hooks, and append to the logs; returns the row.

        The `last` step is always measured.

        Raises:
            RunFailed: the prompt is not finite, or the column of a hook is taken; nothing was written.
        """
        readings, spectrum = dict[str, float | None](self._signs()), []
        ranks_due = step % self.config.rank_every == 0 or last
        spectrum_due = step % self.config.spectrum_every == 0 or last
        if len(self.initial) and (ranks_due or spectrum_due):
            spectra = self._spectra(step)
            readings |= _measures(spectra, self.initial.shape) if ranks_due and spectra else {}
            spectrum = _long(step, spectra | self._named_sigma()) if spectrum_due else []
            spectrum += _long(step, self._of_further_draws()) if last else []
        lost = self.twins.diverged
        own = [name for name in readings if not name.startswith(tuple(map(twin_prefix, TWINS)))]
        readings |= {f"{twin_prefix(kind)}{name}": None for kind in TWINS if kind in lost for name in own}
        row = {"step": step, **update, **readings}
        row |= self._from_hooks(step, row, evals)
        self.logs["spectra"].write(spectrum)
        self.logs["evals"].write(evals)
        self.logs["steps"].write([row])
        for twin in [twin for twin, at in lost.items() if at == step]:
            problem = self.twins.problems[twin]
            warnings.warn(
                f"{self.folder.name}: the {twin_title(twin)} diverged at step {step} ({problem}); "
                "its columns are missing from this step on, and the run goes on without it",
                stacklevel=2,
            )
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
        before, self.sigma = self.sigma, self._diagonals()
        for prefix, after in self.sigma.items():
            counts = {**sign_counts(after), "n_revived": revived(before[prefix], after)}
            row |= {f"{prefix}{name}": value for name, value in counts.items()}
        return row

    def _spectra(self, step: int) -> dict[str, NDArray[np.float64]]:
        """Singular values of P and ΔP of run and twins; empty where LAPACK does not converge for the run.

        A twin whose singular values are not found, although the run's are, has diverged.

        Raises:
            RunFailed: the run's P is not finite.
        """
        prompts = {f"{prefix}P": P for prefix, P in self._prompts().items()}
        if not np.isfinite(prompts["P"]).all():
            raise RunFailed("P holds NaN or infinite entries")
        with contextlib.suppress(NotConverged):  # of one of them: below, each is tried alone
            return self._singular_values(step, prompts)
        try:
            found = self._singular_values(step, {"P": prompts["P"]})
        except NotConverged as error:
            warnings.warn(f"{self.folder.name}: no ranks at step {step}: {error}", stacklevel=2)
            return {}
        for kind in self.twins.logged:
            name = f"{twin_prefix(kind)}P"
            try:
                found |= self._singular_values(step, {name: prompts[name]})
            except NotConverged as error:
                self.twins.diverge(kind, step, str(error))
                self.sigma.pop(twin_prefix(kind), None)
        return found

    def _singular_values(
        self, step: int, prompts: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Singular values of each prompt and of its difference to P0.

        Raises:
            NotConverged: LAPACK does not find those of one of them.
        """
        # A GPU rounds the product of a stack of factors differently from that of one: at step 0, a twin would
        # differ from P0 by rounding errors, whose stable rank is that of noise.
        differences = {f"{name[:-1]}dP": P - (self.initial if step else P) for name, P in prompts.items()}
        matrices = {**prompts, **differences}
        stack = gram_singular_values(np.stack(list(matrices.values())))
        return dict(zip(matrices, stack, strict=True))

    def _of_further_draws(self) -> dict[str, NDArray[np.float64]]:
        """σ and the singular values of P of the further draws of twins, by the names of their matrices.

        A draw whose singular values are not found is left out.
        """
        found: dict[str, NDArray[np.float64]] = {}
        for name, i in self.twins.further.items():
            with contextlib.suppress(NotConverged):
                found[f"{twin_prefix(name)}P"] = gram_singular_values(_numpy(self.twins.P[i]))
                if self.twins.sigma[i].numel():
                    found[f"{twin_prefix(name)}sigma"] = _numpy(self.twins.sigma[i])
        return found

    def _named_sigma(self) -> dict[str, NDArray[np.float64]]:
        return {f"{prefix}sigma": s for prefix, s in self.sigma.items()}

    def _from_hooks(
        self, step: int, row: Mapping[str, Any], evals: Sequence[Mapping[str, Any]]
    ) -> dict[str, float | None]:
        columns: dict[str, float | None] = {}
        for hook in self.hooks:
            record = StepRecord(
                run_id=self.folder.name,
                step=step,
                total_steps=self.total_steps,
                row=dict(row),
                evals=[dict(each) for each in evals],
                prompt=self.method().cpu().clone(),
                factors={name: p.detach().cpu().clone() for name, p in self.method.named_parameters()},
            )
            for name, value in (hook(record) or {}).items():
                self._check_free(name, {*row, *columns})
                columns[name] = float(value) if math.isfinite(value) else None
        return columns

    def _check_free(self, name: str, logged: Collection[str]) -> None:
        """Check that no other column of the log or the frames has the name of a hook's column.

        Raises:
            ColumnTaken: one has.
        """
        if name in all_settings():
            owner = "is a setting"
        elif name in logged or name in _columns_of_readings():
            owner = "the log has already"
        elif name in self.taken:
            owner = "the frames of load_runs have already"
        else:
            return
        raise ColumnTaken(f"a hook returned the column '{name}', which {owner}; choose another name")


def _columns_of_readings() -> set[str]:
    """The columns of all readings that a log of steps may have, of the run and of its twins."""
    ranks = [f"{matrix}_{measure}" for matrix in ("P", "dP") for measure in logged_measures()]
    prefixes = ("", *map(twin_prefix, TWINS))
    return {f"{prefix}{name}" for prefix in prefixes for name in (*SIGNS, *ranks)} | {*STATISTICS}


def _measures(spectra: Mapping[str, NDArray[np.float64]], shape: tuple[int, ...]) -> dict[str, float]:
    """`<matrix>_<measure>` for each matrix and measure, from one stack of singular values."""
    stack = np.stack(list(spectra.values()))
    values = {name: MEASURES[name](stack, (shape[0], shape[1])) for name in logged_measures()}
    return {
        f"{matrix}_{name}": float(np.asarray(column)[i])
        for i, matrix in enumerate(spectra)
        for name, column in values.items()
    }


def _long(step: int, vectors: Mapping[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    return [
        {"step": step, "matrix": name, "index": i, "value": value}
        for name, vector in vectors.items()
        for i, value in enumerate(vector.tolist())
    ]


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
