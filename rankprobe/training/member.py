"""One run inside a cohort: its method, its noise twin, its best prompt, and its folder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rankprobe.backbone import Soft
from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.rank import gaussian_like
from rankprobe.runs import CHECKPOINTS, LOGS, PROMPT, Run
from rankprobe.runs.checkpoint import (
    drop_later_checkpoints,
    drop_old_checkpoints,
    load_checkpoint,
    save_checkpoint,
    write_tensors,
)
from rankprobe.runs.files import Covered, check_log, compact, rewind
from rankprobe.training.batching import epoch_batches
from rankprobe.training.config import RunConfig
from rankprobe.training.learner import Learner
from rankprobe.training.manifest import now
from rankprobe.training.recorder import Hook, Recorder
from rankprobe.training.seeding import numpy_generator, torch_generator
from rankprobe.training.session import Session
from rankprobe.training.subsets import target_rows, training_rows

SAME_START = 1e-4
"""Largest ‖P0 − saved P0‖ / ‖saved P0‖ (Frobenius norms) that is taken for rounding."""


class Member:
    """A run while it trains. Nothing here depends on the other members of its cohort."""

    def __init__(
        self,
        config: RunConfig,
        session: Session,
        learner: Learner,
        run: Run,
        hooks: Sequence[Hook] = (),
        start: int | None = None,
    ) -> None:
        """Take up `run` at its checkpoint of step `start`, or from the beginning."""
        self.config = config
        self.session = session
        self.learner = learner
        self.run = run
        self.P0 = self.prompt().clone()
        self.best = self._state_to_keep()
        self.twin = learner.copy() if config.logging.twin and len(self.P0) else None
        self.P = self.P0
        self.loss = math.nan
        self.step = 0
        self.progress: dict[str, Any] = {
            "step": 0,
            "total_steps": session.total_steps,
            "metric": session.task.metrics[0],
            "majority": session.exam.majority[session.exam.selection][session.task.metrics[0]],
            "untrained": None,
            "best": None,
            "best_step": None,
            "last": None,
            "last_invalid": None,
            "last_n": None,
            **({"report_best": None, "report_last": None} if "report" in session.exam.parts else {}),
        }
        self.timings = {"training": 0.0, "evaluation": 0.0, "recording": 0.0}
        self.fresh = start is None
        self.start_error = 0.0
        self._restore(start)
        self._subset = training_rows(session.train.examples, config.task, config.seed)
        self._taught = target_rows(session.train.targets, self._subset, config.task.control, config.seed)
        self._batches: dict[int, list[list[int]]] = {}
        twins = {"twin_": self.twin.method} if self.twin else {}
        self.recorder = Recorder(
            run.path,
            config.logging,
            hooks,
            {"": learner.method} | twins,
            self.P0,
            session.total_steps,
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
        if epoch not in self._batches:
            training = self.config.training
            lengths = [self.session.train.lengths[row] for row in self._subset]
            batches = epoch_batches(lengths, training.batch_size, training.batching, self.config.seed, epoch)
            self._batches = {epoch: [[self._subset[i] for i in batch] for batch in batches]}
        return self._batches[epoch][position]

    def taught(self, rows: Sequence[int]) -> list[int]:
        """For each training row, the row whose target it is taught: its own, but in control runs."""
        return [self._taught[row] for row in rows]

    def produce(self) -> Soft:
        """P for the coming update, (n, d), ready to receive ∂L/∂P, and the shift of the text."""
        self.P = self.learner.method()
        if self.P.requires_grad:
            self.P.retain_grad()
        return Soft(self.P, self.learner.method.text_shift())

    def soft(self) -> Soft:
        """P and the shift as they stand, detached."""
        with torch.no_grad():
            return Soft(self.learner.method(), self.learner.method.text_shift())

    def penalty(self) -> Tensor | None:
        """What the method adds to the loss of the coming update."""
        return self.learner.method.penalty()

    def prompt(self) -> Tensor:
        """P as it stands, detached."""
        return self.soft().P

    def dropout_generator(self, step: int) -> torch.Generator:
        return torch_generator(self.config.seed, "dropout", step, self.session.backbone.device)

    def update(self, step: int) -> dict[str, float]:
        """Apply update `step` to the run and to its twin, whose gradient is noise of the same norm.

        Raises:
            RunFailed: loss or gradient is not finite; nothing was changed.
        """
        size = self.gradient_size()
        if not (math.isfinite(self.loss) and math.isfinite(size)):
            raise RunFailed(f"loss {self.loss:g}, gradient norm {size:g}")
        row = {"loss": self.loss, **self.learner.update(step), "grad_norm_P": size}
        self.update_twin(step, size)
        self.step = step
        return row

    def gradient_size(self) -> float:
        """Frobenius norm of ∂L/∂P; 0 if the loss does not depend on P."""
        return 0.0 if self.P.grad is None else float(torch.linalg.vector_norm(self.P.grad))

    def update_twin(self, step: int, size: float) -> None:
        """Apply update `step` to the noise twin: a Gaussian ∂L/∂P of norm `size`, fresh each step."""
        if self.twin is not None:
            noise = gaussian_like(tuple(self.P.shape), size, numpy_generator(self.config.seed, "twin", step))
            self.twin.method().backward(torch.from_numpy(noise).to(self.P.device, self.P.dtype))
            if (penalty := self.twin.method.penalty()) is not None:
                penalty.backward()
            self.twin.update(step)

    def note_score(self, step: int, evals: Sequence[Mapping[str, Any]]) -> None:
        """Keep the best prompt by the first row of `evals`; the untrained one is no candidate."""
        first = evals[0]
        value = first["value"]
        reported = [
            row["value"] for row in evals if row["split"] == "report" and row["metric"] == first["metric"]
        ]
        if step == 0:
            self.progress["untrained"] = value
            return
        self.progress |= {"last": value, "last_invalid": first["n_invalid"], "last_n": first["n_examples"]}
        if reported:
            self.progress["report_last"] = reported[0]
        if self.progress["best"] is None or value > self.progress["best"]:
            self.progress |= {"best": value, "best_step": step}
            if reported:
                self.progress["report_best"] = reported[0]
            self.best = self._state_to_keep()

    def _state_to_keep(self) -> dict[str, Tensor]:
        """P as it stands, and the factors where P is not all there is."""
        kept = {"best": self.prompt().clone()}
        if not self.config.method.prompt_is_all:
            kept |= {f"best_factor.{name}": p.detach().clone() for name, p in self.learner.trained.items()}
        return kept

    def checkpoint(self) -> None:
        """Write down everything a resume needs, then the manifest's progress."""
        self.progress["step"] = self.step
        tensors = {"P0": self.P0, **self.best}
        tensors |= {f"run.{name}": value for name, value in self.learner.state().items()}
        if self.twin is not None:
            tensors |= {f"twin.{name}": value for name, value in self.twin.state().items()}
        facts = {"logs": self.recorder.sync(), "progress": self.progress, "timings": self.timings}
        save_checkpoint(self.run.path / CHECKPOINTS, self.step, tensors, facts)
        self.run.update({"progress": self.progress, "timings": self.timings, "updated": now()})

    def _restore(self, start: int | None) -> None:
        """Take up a checkpoint and cut the logs back to it; without one, the logs start empty.

        Raises:
            RankprobeError: the run does not start from the prompt it started from, or a log that the
                checkpoint counts on was lost or changed; no file was touched.
        """
        folder, noted = self.run.path / CHECKPOINTS, dict[str, Any].fromkeys(LOGS, 0)
        if start is not None:
            tensors, facts = load_checkpoint(folder, start)
            self._take_start(tensors["P0"].to(self.P0.device))
            self.best = {
                name: each.to(self.P0.device) for name, each in tensors.items() if name.startswith("best")
            }
            self.learner.load(_below("run.", tensors))
            if self.twin is not None:
                self.twin.load(_below("twin.", tensors))
            self.progress, self.timings, noted = facts["progress"], facts["timings"], facts["logs"]
            self.step = start
        try:  # not what else a stranger's checkpoint may name
            logs = {self.run.path / f"{name}.jsonl": Covered.parse(noted[name]) for name in LOGS}
        except (LookupError, TypeError, ValueError) as error:
            raise RankprobeError(f"a checkpoint in {folder} cannot be used ({error!r})") from None
        for path, covered in logs.items():
            check_log(path, covered, self.step)
        drop_later_checkpoints(folder, start)
        for path, covered in logs.items():
            rewind(path, covered, self.step)

    def _take_start(self, saved: Tensor) -> None:
        """Go on with the P0 that the checkpoint has, if the one made now equals it up to rounding.

        Other machines and versions round the same computation differently.
        """
        self.start_error = relative_distance(self.P0, saved)
        if not self.start_error <= SAME_START:
            source = getattr(self.config.method, "init_from", None) or "the versions of its manifest"
            raise RankprobeError(
                f"run '{self.run.id}' cannot be resumed: its initial prompt is not what it was; restore "
                f"{source}, or start over with --overwrite"
            )
        for buffer in self.learner.method.buffers():  # the twin shares them
            if torch.equal(buffer, self.P0):
                buffer.copy_(saved)
        self.P0 = saved

    def finish(self, backbone_fingerprint: str) -> None:
        """Write the prompts, compact the logs, and say so in the manifest.

        Args:
            backbone_fingerprint: of the backbone as it is after training.

        Raises:
            RunFailed: the frozen backbone has changed, so the results cannot be trusted.
        """
        before = self.session.backbone_fingerprint
        backbone = {**self.run.manifest["backbone"], "fingerprint_after": backbone_fingerprint}
        self.run.update({"backbone": backbone, "readings": self.run.readings()})
        if backbone_fingerprint != before and not self.config.method.trains_backbone:
            raise RunFailed(
                f"run '{self.run.id}': the frozen backbone changed during training (fingerprint "
                f"{before[:12]} became {backbone_fingerprint[:12]}); do not use its results"
            )
        self.recorder.close()
        write_tensors(
            self.run.path / PROMPT,
            {
                "P0": self.P0,
                **self.best,
                "final": self.prompt(),
                **{f"factor.{name}": p for name, p in self.learner.trained.items()},
            },
        )
        for name in LOGS:
            compact(self.run.path / name)
        drop_old_checkpoints(self.run.path / CHECKPOINTS, 1)
        self.run.update({"status": "finished", "updated": now()})

    def fail(self, step: int, reason: str) -> str:
        """End the run as failed; returns the reason, with what to do next."""
        half = self.config.backbone.dtype == "bfloat16"
        advice = "--factor-scale" if step == 0 else "--learning-rate"
        message = (
            f"run '{self.run.id}' failed at step {step}: {reason}; its logs stay in {self.run.path}; "
            f"try {'--dtype float32, or ' if half else ''}a lower {advice}"
        )
        self.stop("failed", message)
        return message

    def stop(self, status: str, error: str | None = None) -> None:
        """End the run unfinished (`interrupted` or `failed`); what was logged stays."""
        self.recorder.close()
        self.run.update({"status": status, "error": error, "updated": now()})


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def relative_distance(P: Tensor, saved: Tensor) -> float:
    """‖P − saved‖ / ‖saved‖ in Frobenius norms, in float64; infinite where shapes differ or `saved` is 0."""
    if P.shape != saved.shape:
        return math.inf
    distance = float(torch.linalg.vector_norm(P.double() - saved.double()))
    norm = float(torch.linalg.vector_norm(saved.double()))
    if distance == 0:
        return 0.0
    return distance / norm if norm else math.inf
