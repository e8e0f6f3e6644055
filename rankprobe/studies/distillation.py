"""Distillation: does a functional rank recover the rank of a teacher prompt that a student imitates?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from rankprobe.backbone import Backbone, PromptInput, label_logits
from rankprobe.config import RunConfig
from rankprobe.data.batching import collate, epoch_batches
from rankprobe.data.encoding import Encoded
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.scoring import in_passes
from rankprobe.evaluation.truncation import functional_rank, resampled
from rankprobe.prompts import MethodConfig
from rankprobe.prompts.base import total_loss
from rankprobe.prompts.config import DPTConfig, ProbeConfig, VanillaConfig
from rankprobe.rank import log_spaced_ks, truncated
from rankprobe.training.api import train_cohort
from rankprobe.training.optimization import Optimization
from rankprobe.training.run_state import new_optimization
from rankprobe.training.session import Session, open_session

RANKS = (1, 2, 5, 10)

STUDENTS: tuple[MethodConfig, ...] = (
    VanillaConfig(),
    VanillaConfig(init="normal", init_scale=0.01),
    ProbeConfig(),
    DPTConfig(bottleneck=40),
)
"""None of them limits the rank. The second one starts near zero, so that P is what training added."""

ROWS_PER_PASS = 16
"""Texts per prompt and pass without training; more are not faster on a CPU."""

ONE_ANSWER = 0.95
"""A teacher that gives the same answer to this share of the dev texts gets no students."""


@dataclass(frozen=True)
class Teacher:
    """A trained prompt of rank at most r, and its predictions at the first label position of each text.

    Attributes:
        P, P0: the trained and the initial prompt.
        train, dev: distributions over the vocabulary for the texts of a split.
    """

    P: Float[Tensor, "n d"]
    P0: Float[Tensor, "n d"]
    train: Float[Tensor, "train_texts V"]
    dev: Float[Tensor, "dev_texts pieces"]

    @property
    def answers(self) -> Int[Tensor, " dev_texts"]:
        """The most likely piece for each dev text."""
        return self.dev.argmax(-1)

    @property
    def commonest(self) -> Bool[Tensor, " dev_texts"]:
        """Whether each answer is the most frequent one."""
        return self.answers == self.answers.mode().values


def calibrate_model(
    *,
    ranks: Sequence[int] = RANKS,
    students: Sequence[MethodConfig] = STUDENTS,
    seeds: Sequence[int] = (0,),
    task: str = "rte",
    data: str = "bundled-500",
    model: str = "tiny",
    dtype: str = "bfloat16",
    prompt_length: int = 40,
    steps: int = 300,
    learning_rate: float = 0.3,
    batch_size: int = 16,
    runs_dir: str | Path = "runs",
) -> pd.DataFrame:
    """Train prompts to imitate a prompt of rank r, and take their functional rank.

    A teacher is a DPT run with bottleneck r. Its predictions are distributions over the vocabulary at the
    first label position of the training texts. Students learn these by cross-entropy, with the optimizer,
    schedule and clipping of runs. A solution of rank r exists: the teacher. So the functional rank of a
    student should not exceed r by more than its interval. If it does, the reading describes this student,
    not what the task needs.

    The functional rank is the least number of singular directions, of P or of ΔP (added to P0), from which on
    95 % of a gain on dev texts is kept. The gain depends on `score`:

    - `agreement`: with the teacher's most likely piece, over always giving its most frequent piece;
    - `cross_entropy`: to the teacher's distributions, over the untrained prompt;
    - `information`: to the teacher's distributions, over their mean, which ignores the text.

    `rule` is `functional` or `functional_best`, as in `calibration.functional_ranks`. The defaults take about
    seven minutes on one core.

    Args:
        ranks: of the teachers, r.
        students: methods; their prompt length is set to `prompt_length`.
        seeds: each seed trains its own teachers and students.
        task: of teachers and students; this and the following are settings of runs.
        data: its validation rows are the dev texts.
        model: the frozen backbone.
        dtype: of its weights.
        prompt_length: n.
        steps: optimizer updates.
        learning_rate: peak rate.
        batch_size: texts per update.
        runs_dir: the folder for the runs of the teachers; finished ones are reused.

    Returns:
        A row per seed, teacher, student, matrix, score and rule: `functional_rank`, its 95 % interval `low`
        to `high` over resampled dev texts, `defined` as in `truncate`; `gain` of the whole prompt; `exceeds`,
        whether `low` is above r. The student `teacher` is the teacher itself, which cannot exceed r. A
        teacher that gives the same answer to 95 % of the dev texts has no other students; `taught` is then
        False. `agreement` of each student with the teacher, 0 to 1, and `teacher_baseline`.

    Raises:
        RankprobeError: a rank beyond min(n, d), or as `train`.
    """
    if not ranks or not students:
        raise RankprobeError(f"{len(ranks)} teachers and {len(students)} kinds of students; give one or more")
    common: dict[str, Any] = {
        "task": task,
        "data": data,
        "model": model,
        "dtype": dtype,
        "learning_rate": learning_rate,
        "steps": steps,
        "batch_size": batch_size,
        "twin": "none",
        "eval_every": steps,
    }
    own = [each.model_copy(update={"prompt_length": prompt_length}) for each in students]
    teaching = [DPTConfig(bottleneck=r, prompt_length=prompt_length) for r in ranks]
    found = []
    for seed in seeds:
        configs = [RunConfig(seed=seed, method=method, **common) for method in own]
        session = open_session(configs)
        if max(ranks) > (most := min(prompt_length, session.backbone.d_model)):
            raise RankprobeError(f"ranks of teachers {list(ranks)}; expected at most {most}")
        runs = train_cohort(
            [RunConfig(seed=seed, method=method, **common) for method in teaching],
            runs_dir=runs_dir,
            if_exists="resume",
        )
        for r, run in zip(ranks, runs, strict=True):
            P, P0 = (torch.from_numpy(run.prompt(name)) for name in ("final", "P0"))
            teacher = teacher_of(session, P, P0)
            part = readings_of_students(
                session, teacher, configs, sorted({*log_spaced_ks(min(P.shape), 12), *ranks})
            )
            found.append(part.assign(task=task, teacher=run.id, teacher_rank=r, seed=seed))
    frame = pd.concat(found, ignore_index=True)
    return frame.assign(exceeds=frame["low"] > frame["teacher_rank"])


def teacher_of(session: Session, P: Tensor, P0: Tensor) -> Teacher:
    """What a prompt says of all texts of a session."""
    train, dev = (
        label_log_probabilities(session.backbone, [P], data)[0].exp()
        for data in (session.train, session.eval_set.data)
    )
    return Teacher(P, P0, train, dev)


def readings_of_students(
    session: Session, teacher: Teacher, configs: Sequence[RunConfig], ks: Sequence[int]
) -> pd.DataFrame:
    """Readings of a teacher, and of its students unless the teacher gives one answer only."""
    seed, baseline = configs[0].seed, float(teacher.commonest.double().mean())
    # r bounds the rank of the teacher's P; its ΔP may have rank 2r.
    frames = [readings(session, teacher, teacher.P, teacher.P0, ks, seed, ("P",)).assign(student="teacher")]
    if worth := baseline < ONE_ANSWER:
        for config, (P, P0) in zip(configs, train_students(session, configs, teacher.train), strict=True):
            frames.append(
                readings(session, teacher, P, P0, ks, seed).assign(student=student_name(config.method))
            )
    return pd.concat(frames).assign(taught=worth, teacher_baseline=baseline)


def student_name(method: MethodConfig) -> str:
    """The name of a method with its non-default settings: several students may be of one method."""
    told = method.model_dump(exclude_defaults=True, exclude={"name", "prompt_length"})
    return " ".join([method.name, *(f"{key}={value}" for key, value in told.items())])


def train_students(
    session: Session, configs: Sequence[RunConfig], soft: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Train students in one pass per step on the distributions `soft`; returns P and P0 of each.

    The loss is the cross-entropy at the first label position, mean over the batch.
    """
    optimizations = [new_optimization(config, session) for config in configs]
    starts = [prompt(optimization) for optimization in optimizations]
    for step, rows in enumerate(itertools.islice(batches(session, configs[0]), session.total_steps), start=1):
        prompt_inputs = [
            PromptInput(optimization.method(), optimization.method.text_shift())
            for optimization in optimizations
        ]
        logits = first_logits(session.backbone, prompt_inputs, session.train, rows)
        values = [functional.cross_entropy(each, soft[rows]) for each in logits]
        total_loss(values, [optimization.method for optimization in optimizations]).backward()
        for optimization in optimizations:
            optimization.update(step)
    return [(prompt(optimization), start) for optimization, start in zip(optimizations, starts, strict=True)]


def batches(session: Session, config: RunConfig) -> Iterator[list[int]]:
    """The rows of each update of a run; never ends."""
    lengths = session.train.lengths
    for epoch in itertools.count():
        yield from epoch_batches(
            lengths, config.batch_size, config.batching, config.seed, epoch, config.batch_order
        )


def readings(
    session: Session,
    teacher: Teacher,
    P: Float[Tensor, "n d"],
    P0: Float[Tensor, "n d"],
    ks: Sequence[int],
    seed: int,
    matrices: Sequence[str] = ("P", "dP"),
) -> pd.DataFrame:
    """Functional ranks of a prompt by matrix, score and rule; see `calibrate_model`."""
    draws, rows = resampled(session.eval_set.data.examples, seed), []
    whole = {"P": P.double().numpy(), "dP": (P - P0).double().numpy()}
    starts = {"P": np.zeros(P.shape), "dP": P0.double().numpy()}
    (untrained,) = label_log_probabilities(session.backbone, [P0], session.eval_set.data)
    for matrix in matrices:
        cut = torch.from_numpy((starts[matrix] + truncated(whole[matrix], ks, "top")).astype(np.float32))
        log_probabilities = label_log_probabilities(session.backbone, list(cut), session.eval_set.data)
        agreement = float((log_probabilities[-1].argmax(-1) == teacher.answers).double().mean())
        for score, gain in gains(log_probabilities, untrained, teacher).items():
            means = np.stack([gain[:, draw].mean(-1) for draw in draws])
            rising = np.maximum.accumulate(means, axis=-1)
            for rule, curve in (("functional", means), ("functional_best", rising)):
                about = {"matrix": matrix, "score": score, "rule": rule, "agreement": agreement}
                rows.append(about | {"gain": means[0, -1]} | functional_rank(ks, curve, 0.0))
    return pd.DataFrame(rows)


def gains(
    log_probabilities: Float[Tensor, "prompts texts V"], untrained: Float[Tensor, "texts V"], teacher: Teacher
) -> dict[str, Float[np.ndarray, "prompts texts"]]:
    """The gain on each dev text, by score; see `calibrate_model`.

    Args:
        log_probabilities: of the prompts.
        untrained: of the untrained prompt.
        teacher: its distributions are the target.
    """
    mean = teacher.dev.mean(0).log().clamp(min=-1e4)  # a probability of 0 would give 0 · ∞

    def missed(log_probabilities: Tensor) -> Tensor:
        return -(teacher.dev * log_probabilities).sum(-1)

    found = {
        "agreement": (log_probabilities.argmax(-1) == teacher.answers).double() - teacher.commonest.double(),
        "cross_entropy": missed(untrained) - missed(log_probabilities),
        "information": missed(mean) - missed(log_probabilities),
    }
    return {name: each.double().numpy() for name, each in found.items()}


@torch.no_grad()
def label_log_probabilities(
    backbone: Backbone, prompts: Sequence[Tensor], data: Encoded
) -> Float[Tensor, "prompts texts V"]:
    """Log-probabilities at the first label position, on the CPU."""
    order, prompt_inputs = np.argsort(data.lengths, kind="stable"), [PromptInput(P) for P in prompts]
    found = []
    for start in range(0, len(data), ROWS_PER_PASS):
        rows = order[start : start + ROWS_PER_PASS].tolist()
        logits = [
            each for part in in_passes(prompt_inputs) for each in first_logits(backbone, part, data, rows)
        ]
        found.append(torch.stack(logits).log_softmax(-1).cpu())
    return torch.cat(found, dim=1)[:, torch.from_numpy(np.argsort(order))]


def first_logits(
    backbone: Backbone, prompt_inputs: Sequence[PromptInput], data: Encoded, rows: Sequence[int]
) -> list[Tensor]:
    """For each prompt, the logits (rows, V) of the same texts at the first label position, in float32."""
    batch = collate(data, [rows] * len(prompt_inputs), backbone.tokenizer.pad_token_id, backbone.device)
    return list(label_logits(backbone, prompt_inputs, batch)[:, 0].float().split(list(batch.rows)))


@torch.no_grad()
def prompt(optimization: Optimization) -> Tensor:
    """The current P, (n, d)."""
    return optimization.method().clone()
