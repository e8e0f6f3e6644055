"""Does a functional rank see the rank of what was learned? Students of teacher prompts of known rank."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rankprobe.backbone import Backbone, Soft, label_logits
from rankprobe.errors import RankprobeError
from rankprobe.prompts import MethodConfig
from rankprobe.prompts.config import DPTConfig, ProbeConfig, VanillaConfig
from rankprobe.rank import parts, steps_to
from rankprobe.training.api import new_learner, train_cohort
from rankprobe.training.batching import Encoded, collate, epoch_batches
from rankprobe.training.config import (
    BackboneConfig,
    LoggingConfig,
    RunConfig,
    TaskConfig,
    TrainingConfig,
)
from rankprobe.training.learner import Learner
from rankprobe.training.session import Session, open_session
from rankprobe.training.truncate import AT_ONCE, functional_rank, resampled

RANKS = (1, 2, 5, 10)

STUDENTS: tuple[MethodConfig, ...] = (
    VanillaConfig(),
    VanillaConfig(init="normal", init_scale=0.01),
    ProbeConfig(),
    DPTConfig(bottleneck=40),
)
"""All of them free to have any rank. The second starts at almost nothing, so that P is what was learned."""

ROWS_AT_ONCE = 16
"""Texts per prompt and pass where nothing is trained; more are no faster on CPU."""

ONE_ANSWER = 0.95
"""A teacher that answers this share of the dev texts alike says nothing about them, and gets no students."""


@dataclass(frozen=True)
class Teacher:
    """A trained prompt of rank at most r, and what it says at the first label position of each text.

    `P` and `P0` (n, d). `train` and `dev`: distributions over the vocabulary, (texts, V).
    """

    P: Tensor
    P0: Tensor
    train: Tensor
    dev: Tensor

    @property
    def answers(self) -> Tensor:
        """Its likeliest piece on each dev text."""
        return self.dev.argmax(-1)

    @property
    def commonest(self) -> Tensor:
        """On which dev texts the answer is the commonest one."""
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
    """Teach prompts what a prompt of rank r says, and take the functional rank of what was learned.

    A teacher is a DPT run of bottleneck r on the task. It answers the training texts with distributions
    over the vocabulary at the first label position; students learn these by cross-entropy, with the
    optimizer, schedule and clipping of runs (`Learner`). A prompt of rank r that says the same exists: the
    teacher. So the functional rank of a student should not exceed r by more than its interval; where it
    does, the reading says how this student does it, not what has to be done.

    A functional rank is the least number of singular directions, of P or of ΔP (added to P0), from which
    on 95 % of a gain on dev texts is kept. Gains, by `score`:

    - `agreement`: with the teacher's likeliest piece, over the piece it says most;
    - `cross_entropy`: to the teacher's distributions, over the untrained prompt;
    - `information`: the same over the teacher's mean distribution, which is without reading a text.

    By `rule`: of the gain of the whole matrix (`functional`) or of its best part (`functional_best`), as in
    `training.calibrate`. The defaults take about seven minutes on one core.

    Args:
        ranks: of the teachers, r.
        students: what is taught; the prompt length is set to `prompt_length`.
        seeds: of a teacher and of its students, which start and draw batches by the seed, as runs do.
        task: taught, here and below as the flags of runs, and for teachers and students alike.
        data: whose validation rows are the dev texts.
        model: the frozen backbone.
        dtype: of its weights.
        prompt_length: n.
        steps: optimizer updates.
        learning_rate: peak rate.
        batch_size: texts per update.
        runs_dir: where the teachers' run folders are, or will be.

    Returns:
        A row per seed, teacher, student, matrix, score and rule: `functional_rank`, its 95 % interval `low`
        to `high` over resampled dev texts, `defined` as in `truncate`; `gain` of the whole prompt;
        `exceeds`, whether even `low` is above r. Student `teacher` is the teacher itself, which cannot
        exceed r. It stands alone where it gives one answer to 95 % of the dev texts: `taught` is then
        False. About each student: `agreement` with the teacher, 0 to 1, beside `teacher_majority`.

    Raises:
        RankprobeError: a rank beyond min(n, d), or as `train`.
    """
    if not ranks or not students:
        raise RankprobeError(f"{len(ranks)} teachers and {len(students)} kinds of students; give one or more")
    common: dict[str, Any] = {
        "task": TaskConfig(name=task, data=data),
        "backbone": BackboneConfig(model=model, dtype=dtype),  # pyright: ignore[reportArgumentType]
        "training": TrainingConfig(learning_rate=learning_rate, steps=steps, batch_size=batch_size),
        "logging": LoggingConfig(twin=False, eval_every=steps),
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
            teacher = heard(session, P, P0)
            part = lesson(session, teacher, configs, sorted({*steps_to(min(P.shape), 12), *ranks}))
            found.append(part.assign(task=task, teacher=run.id, teacher_rank=r, seed=seed))
    frame = pd.concat(found, ignore_index=True)
    return frame.assign(exceeds=frame["low"] > frame["teacher_rank"])


def heard(session: Session, P: Tensor, P0: Tensor) -> Teacher:
    """What a prompt says of all texts of a session."""
    train, dev = (said(session.backbone, [P], data)[0].exp() for data in (session.train, session.exam.data))
    return Teacher(P, P0, train, dev)


def lesson(
    session: Session, teacher: Teacher, configs: Sequence[RunConfig], ks: Sequence[int]
) -> pd.DataFrame:
    """Readings of a teacher, and of its students if it has something to teach."""
    seed, majority = configs[0].seed, float(teacher.commonest.double().mean())
    # The teacher's rank is that of P; its ΔP may have twice as much.
    frames = [readings(session, teacher, teacher.P, teacher.P0, ks, seed, ("P",)).assign(student="teacher")]
    if worth := majority < ONE_ANSWER:
        for config, (P, P0) in zip(configs, taught(session, configs, teacher.train), strict=True):
            frames.append(readings(session, teacher, P, P0, ks, seed).assign(student=named(config.method)))
    return pd.concat(frames).assign(taught=worth, teacher_majority=majority)


def named(method: MethodConfig) -> str:
    """Its name, with what was set beside the length: students may be one method, told differently."""
    told = method.model_dump(exclude_defaults=True, exclude={"name", "prompt_length"})
    return " ".join([method.name, *(f"{key}={value}" for key, value in told.items())])


def taught(session: Session, configs: Sequence[RunConfig], soft: Tensor) -> list[tuple[Tensor, Tensor]]:
    """P and P0 of students trained in one pass to say `soft` (texts, V) of the training texts.

    The loss is the cross-entropy at the first label position, mean over the batch.
    """
    learners = [new_learner(config, session) for config in configs]
    starts = [prompt(learner) for learner in learners]
    for step, rows in enumerate(itertools.islice(batches(session, configs[0]), session.total_steps), start=1):
        softs = [Soft(learner.method(), learner.method.text_shift()) for learner in learners]
        logits = first_logits(session.backbone, softs, session.train, rows)
        values = [functional.cross_entropy(each, soft[rows]) for each in logits]
        penalties = [penalty for learner in learners if (penalty := learner.method.penalty()) is not None]
        torch.stack(values + penalties).sum().backward()
        for learner in learners:
            learner.update(step)
    return [(prompt(learner), start) for learner, start in zip(learners, starts, strict=True)]


def batches(session: Session, config: RunConfig) -> Iterator[list[int]]:
    """The rows of each update of a run, without end."""
    lengths, training = session.train.lengths, config.training
    for epoch in itertools.count():
        yield from epoch_batches(lengths, training.batch_size, training.batching, config.seed, epoch)


def readings(
    session: Session,
    teacher: Teacher,
    P: Tensor,
    P0: Tensor,
    ks: Sequence[int],
    seed: int,
    matrices: Sequence[str] = ("P", "dP"),
) -> pd.DataFrame:
    """Functional ranks of a prompt (n, d) by matrix, score and rule; see `calibrate_model`."""
    draws, rows = resampled(session.exam.data.examples, seed), []
    whole = {"P": P.double().numpy(), "dP": (P - P0).double().numpy()}
    starts = {"P": np.zeros(P.shape), "dP": P0.double().numpy()}
    (untrained,) = said(session.backbone, [P0], session.exam.data)
    for matrix in matrices:
        cut = torch.from_numpy((starts[matrix] + parts(whole[matrix], ks, "top")).astype(np.float32))
        spoken = said(session.backbone, list(cut), session.exam.data)
        agreement = float((spoken[-1].argmax(-1) == teacher.answers).double().mean())
        for score, gain in gains(spoken, untrained, teacher).items():
            means = np.stack([gain[:, draw].mean(-1) for draw in draws])
            rising = np.maximum.accumulate(means, axis=-1)
            for rule, curve in (("functional", means), ("functional_best", rising)):
                about = {"matrix": matrix, "score": score, "rule": rule, "agreement": agreement}
                rows.append(about | {"gain": means[0, -1]} | functional_rank(ks, curve, 0.0))
    return pd.DataFrame(rows)


def gains(spoken: Tensor, untrained: Tensor, teacher: Teacher) -> dict[str, NDArray[np.float64]]:
    """What is gained on each dev text, (prompts, texts), by score; see `calibrate_model`.

    Args:
        spoken: log-probabilities of the prompts, (prompts, texts, V).
        untrained: of the untrained prompt, (texts, V).
        teacher: who is to be followed.
    """
    mean = teacher.dev.mean(0).log().clamp(min=-1e4)  # a piece that is never said would give 0 · ∞

    def missed(log_probabilities: Tensor) -> Tensor:
        return -(teacher.dev * log_probabilities).sum(-1)

    found = {
        "agreement": (spoken.argmax(-1) == teacher.answers).double() - teacher.commonest.double(),
        "cross_entropy": missed(untrained) - missed(spoken),
        "information": missed(mean) - missed(spoken),
    }
    return {name: each.double().numpy() for name, each in found.items()}


@torch.no_grad()
def said(backbone: Backbone, prompts: Sequence[Tensor], data: Encoded) -> Tensor:
    """Log-probabilities (prompts, texts, V) at the first label position, on the CPU."""
    order, softs = np.argsort(data.lengths, kind="stable"), [Soft(P) for P in prompts]
    found = []
    for start in range(0, len(data), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE].tolist()
        groups = [softs[first : first + AT_ONCE] for first in range(0, len(softs), AT_ONCE)]
        logits = [each for group in groups for each in first_logits(backbone, group, data, rows)]
        found.append(torch.stack(logits).log_softmax(-1).cpu())
    return torch.cat(found, dim=1)[:, torch.from_numpy(np.argsort(order))]


def first_logits(
    backbone: Backbone, softs: Sequence[Soft], data: Encoded, rows: Sequence[int]
) -> list[Tensor]:
    """For each prompt the logits (rows, V) of the same texts at the first label position, float32."""
    batch = collate(data, [rows] * len(softs), backbone.tokenizer.pad_token_id, backbone.device)
    return list(label_logits(backbone, softs, batch)[:, 0].float().split(list(batch.rows)))


@torch.no_grad()
def prompt(learner: Learner) -> Tensor:
    """P as it stands, (n, d)."""
    return learner.method().clone()
