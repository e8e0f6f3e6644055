"""One run of a cohort while it trains: its method, its twins, its best prompt, its progress.

Nothing here depends on the other members of the cohort, and nothing here writes to the run folder except the
recorder; `checkpoints` saves and restores.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rankprobe.backbone import Flip, PromptInput
from rankprobe.config import RunConfig
from rankprobe.data import EvalSet, epoch_batches, init_sources, target_rows, torch_generator, training_rows
from rankprobe.errors import RunFailed
from rankprobe.prompts import build
from rankprobe.runs import SUMMARY, Run
from rankprobe.runs.step_record import Hook
from rankprobe.training.optimization import Optimization
from rankprobe.training.recorder import Recorder
from rankprobe.training.twins import Twins
from rankprobe.twins import TWINS, parse_twins, twin_prefix

if TYPE_CHECKING:
    from rankprobe.training.session import Session


def new_optimization(config: RunConfig, session: Session) -> Optimization:
    """The method of `config` in its initial state, with its optimizer."""
    backbone = session.backbone
    labels = session.task.answer_set(session.eval_set.targets)
    sources = init_sources(config.method, backbone, labels)
    method = build(config.method, sources, torch_generator(config.start_seed, "init"))
    return Optimization(method.to(backbone.device), backbone.model, config, session.schedule_steps)


class RunState:
    """A member of a cohort.

    Attributes:
        P: the prompt of the last forward pass, (n, d), with its gradient.
        loss: the loss of that pass.
        row: what the last update adds to the log of steps.
        evals: the rows of the last evaluation, if it was at this step.
        fresh: True if nothing was logged yet, False after a resume from a checkpoint.
        ended: True once the run has finished, failed or stopped.
        failure: why it failed, or None.
    """

    def __init__(self, config: RunConfig, session: Session, path: Path, hooks: Sequence[Hook] = ()) -> None:
        """The state before step 0. Nothing is read from or written to the run folder `path`."""
        self.config = config
        self.session = session
        self.run = Run(path)
        self.hooks = hooks
        self.optimization = new_optimization(config, session)
        self.method = self.optimization.method
        self.P0 = self.prompt().clone()
        kinds = parse_twins(config.twin) if len(self.P0) else ()
        self.twins = Twins(self.optimization, kinds, config.seed, config.twin_draws)
        self.best = self._snapshot()
        self.P = self.P0
        self.flip: Flip | None = None
        self.loss = math.nan
        self.row: dict[str, float | None] = {}
        self.evals: list[dict[str, Any]] = []
        self.step = 0
        self.fresh = True
        self.ended = False
        self.failure: str | None = None
        self.progress = _initial_progress(session)
        self.timings = {"training": 0.0, "evaluation": 0.0, "recording": 0.0}
        self._subset = training_rows(session.train.examples, config, config.seed)
        self._target_of = target_rows(session.train.targets, self._subset, config.control, config.seed)
        self._epoch: tuple[int, list[list[int]]] = (-1, [])
        self.recorder: Recorder

    def open_logs(self) -> None:
        """Open the logs of the run folder; from here on steps are recorded."""
        # Names that the frames give to other columns; a hook may not use them.
        progress = {*self.progress, "report_best", "report_last", "report_baseline"}
        progress |= {f"{twin_prefix(kind)}lost" for kind in (*TWINS, *self.twins.names)}
        seconds = {f"{name}_seconds" for name in self.timings}
        self.recorder = Recorder(
            self.run.path,
            self.config,
            self.hooks,
            self.method,
            self.twins,
            self.P0,
            self.session.total_steps,
            taken={*SUMMARY, *progress, *seconds},
        )

    @contextmanager
    def timed(self, what: str, share: int = 1) -> Iterator[None]:
        """Add the seconds spent inside to `timings[what]`, divided by the `share` members they serve."""
        start = time.perf_counter()
        yield
        self.timings[what] += (time.perf_counter() - start) / share

    def rows(self, step: int) -> list[int]:
        """The training rows of update `step`; they depend on seed and step only."""
        epoch, position = divmod(step - 1, self.session.steps_per_epoch)
        if self._epoch[0] != epoch:
            config, lengths = self.config, [self.session.train.lengths[row] for row in self._subset]
            batches = epoch_batches(
                lengths, config.batch_size, config.batching, config.seed, epoch, config.batch_order
            )
            self._epoch = epoch, [[self._subset[i] for i in batch] for batch in batches]
        return self._epoch[1][position]

    def target_rows(self, rows: Sequence[int]) -> list[int]:
        """For each training row, the row whose target it gets: its own, except in control runs."""
        return [self._target_of[row] for row in rows]

    def forward(self, step: int, n_rows: int) -> PromptInput:
        """P for update `step`, ready to receive ∂L/∂P, and the shift of the text.

        With an example-flip twin, also the copy of P that receives the gradient with signs.
        """
        self.P = self.method()
        if self.P.requires_grad:
            self.P.retain_grad()
        signs = self.twins.gradients.signs(step, n_rows)
        if signs is not None:
            copy = self.P.detach().clone().requires_grad_()
            self.flip = Flip(copy, torch.from_numpy(signs).to(copy.dtype).to(copy.device))
        return PromptInput(self.P, self.method.text_shift(), self.flip)

    @torch.no_grad()
    def prompt_input(self) -> PromptInput:
        """P as it stands and the shift of the text, without gradients."""
        return PromptInput(self.method(), self.method.text_shift())

    def prompt(self) -> Tensor:
        """P as it stands, (n, d), without gradients."""
        return self.prompt_input().P

    def dropout_generator(self, step: int) -> torch.Generator:
        return torch_generator(self.config.seed, "dropout", step, self.session.backbone.device)

    def update(self, step: int) -> None:
        """Apply update `step` to the run, then to its twins.

        Raises:
            RunFailed: loss or gradient is not finite; nothing was changed.
        """
        gradient = None if self.P.grad is None else self.P.grad.cpu().double().numpy()
        norm = 0.0 if gradient is None else float(np.linalg.norm(gradient))
        if not (math.isfinite(self.loss) and math.isfinite(norm)):
            raise RunFailed(f"loss {self.loss:g}, gradient norm {norm:g}")
        self.row = {"loss": self.loss, **self.optimization.update(step), "grad_norm_P": norm}
        if gradient is not None:
            self.row |= self.twins.update(step, gradient, self.flip and self.flip.P.grad)
        self.step = step

    def record(self, step: int) -> None:
        """Log the state after `step`, with the rows of its evaluation if there was one.

        Raises:
            RunFailed: P is not finite, or the column of a hook is taken; nothing was written.
        """
        last = step == self.session.total_steps or self.out_of_patience
        self.recorder.record(step, self.row, self.evals, last=last)
        self.evals = []

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` evaluations gave no better score than one before them."""
        patience, best, every = self.config.patience, self.progress["best_step"], self.session.eval_every
        return bool(patience and best) and self.step // every - best // every >= patience

    def note_scores(self, step: int, evals: Sequence[Mapping[str, Any]]) -> None:
        """Take the rows of an evaluation; the first one decides whether this is the best prompt.

        The untrained prompt, of step 0, is never the best.
        """
        self.evals = [dict(row) for row in evals]
        first = evals[0]
        value = first["value"]
        if step == 0:
            self.progress["untrained"] = value
            return
        self.progress |= {"last": value, "last_invalid": first["n_invalid"], "last_n": first["n_examples"]}
        of_half = [
            row["value"] for row in evals if (row["split"], row["metric"]) == ("report", first["metric"])
        ]
        if of_half:
            self.progress["report_last"] = of_half[0]
        if self.progress["best"] is None or value > self.progress["best"]:
            self.progress |= {"best": value, "best_step": step}
            if of_half:
                self.progress["report_best"] = of_half[0]
            self.best = self._snapshot()

    def _snapshot(self) -> dict[str, Tensor]:
        """P as it stands, with the factors if a trained method is more than its P."""
        kept = {"best": self.prompt().clone()}
        if not self.config.method.prompt_is_all:
            trained = self.optimization.trained
            kept |= {f"best_factor.{name}": p.detach().clone() for name, p in trained.items()}
        return kept


def _initial_progress(session: Session) -> dict[str, Any]:
    """What the manifest says about progress and scores before the first evaluation."""
    eval_set, metric = session.eval_set, session.task.metrics[0]
    return {
        "step": 0,
        "total_steps": session.total_steps,
        "metric": metric,
        "baseline": eval_set.baseline[eval_set.selection][metric],
        "untrained": None,
        "best": None,
        "best_step": None,
        "last": None,
        "last_invalid": None,
        "last_n": None,
        **_report_progress(eval_set, metric),
    }


def _report_progress(eval_set: EvalSet, metric: str) -> dict[str, Any]:
    """The same about the held-back half of dev, if there is one."""
    if "report" not in eval_set.parts:
        return {}
    return {"report_best": None, "report_last": None, "report_baseline": eval_set.baseline["report"][metric]}
