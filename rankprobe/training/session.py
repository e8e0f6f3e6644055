"""What the members of a cohort share: the backbone, the tokenised data, and the schedule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankprobe.backbone import Backbone, check_model, fingerprint, recomputing
from rankprobe.backbone.score import IGNORED
from rankprobe.config import RunConfig, cohort_key
from rankprobe.data import (
    Encoded,
    EvalSet,
    build_eval_set,
    check_answers,
    check_length,
    check_tokenizer,
    encode,
    task_of,
    training_rows,
)
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import backbone_of
from rankprobe.logger import log
from rankprobe.tasks import Split, Task, load_split


@dataclass(frozen=True)
class Session:
    """Everything that is loaded once for a cohort and never changes while it trains.

    `config` is that of the first member; of it, only settings of `cohort_key` hold for all. The learning rate
    falls to 0 at `schedule_steps`; training stops at `total_steps`, which may be earlier (`--stop-after`).
    """

    task: Task
    splits: dict[str, Split]
    train: Encoded
    eval_set: EvalSet
    backbone: Backbone
    config: RunConfig
    backbone_fingerprint: str
    steps_per_epoch: int
    schedule_steps: int
    total_steps: int
    eval_every: int
    checkpoint_every: int

    @property
    def data_fingerprint(self) -> dict[str, str]:
        """Of the examples, per split."""
        return {name: split.fingerprint for name, split in self.splits.items()}

    @property
    def tokens_fingerprint(self) -> str:
        """Of what the tokenizer made of them; it changes with tokenizer, template and targets."""
        digest = hashlib.sha256()
        for data in (self.train, self.eval_set.data):
            for ids in (*data.sources, *data.targets):
                digest.update(np.append(ids, IGNORED).astype(np.int32).tobytes())
        return digest.hexdigest()

    def is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.total_steps


def open_session(configs: Sequence[RunConfig]) -> Session:
    """Load data and backbone for a cohort.

    Raises:
        RankprobeError: the configs cannot share a pass, or data or backbone cannot be loaded.
    """
    config, *others = configs
    if others and any(each.method.trains_backbone for each in configs):
        raise RankprobeError("a method that trains the backbone (finetune) takes one run at a time")
    for other in others:
        mine, theirs = cohort_key(config), cohort_key(other)
        for name in mine:
            if mine[name] != theirs[name]:
                raise RankprobeError(
                    f"runs of one cohort must share '{name}'; got {mine[name]!r} and {theirs[name]!r}"
                )
    task = task_of(config)
    task.check_targets(config.targets)
    check_model(config.model)  # before the rows, which may have to be fetched for it
    splits = {name: load_split(task, name, config.data) for name in ("train", "validation")}
    backbone = backbone_of(config)
    targets, limit = config.targets, config.max_source_length
    check_tokenizer(backbone, task.answer_set(targets), task.answer_source)
    train = encode(splits["train"], backbone, targets, limit, training=True)
    eval_set = build_eval_set(config, splits["validation"], backbone, train.max_answer_length)
    check_length(backbone, config.method.prompt_length, [train.size, eval_set.size])
    check_answers(eval_set, backbone, config.method.prompt_length)
    if config.gradient_checkpointing:
        with recomputing(backbone.model):
            pass  # a model that cannot recompute is refused here, before a run folder is made
    n_rows = len(training_rows(train.examples, config, config.seed))
    per_epoch = -(-n_rows // config.batch_size)
    schedule = config.steps or config.epochs * per_epoch
    total = min(schedule, config.stop_after * per_epoch) if config.stop_after else schedule
    eval_every = config.eval_every or per_epoch
    digest = fingerprint(backbone)
    log.info("loaded %s on %s, fingerprint %s", config.model, backbone.device, digest[:12])
    return Session(
        task=task,
        splits=splits,
        train=train,
        eval_set=eval_set,
        backbone=backbone,
        config=config,
        backbone_fingerprint=digest,
        steps_per_epoch=per_epoch,
        schedule_steps=schedule,
        total_steps=total,
        eval_every=eval_every,
        checkpoint_every=config.checkpoint_every or eval_every,
    )
