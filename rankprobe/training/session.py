"""What the members of a cohort share: the backbone, the tokenised data, and when things happen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankprobe.backbone import Backbone, fingerprint, load_backbone
from rankprobe.backbone.score import IGNORED
from rankprobe.errors import RankprobeError
from rankprobe.runs import Run
from rankprobe.tasks import Split, Task, load_split
from rankprobe.training.batching import Encoded, encode
from rankprobe.training.config import BackboneConfig, RunConfig
from rankprobe.training.exam import Exam, set_exam, task_of
from rankprobe.training.subsets import training_rows


@dataclass(frozen=True)
class Session:
    """Everything that is loaded once for a cohort and never changes while it trains."""

    task: Task
    splits: dict[str, Split]
    train: Encoded
    exam: Exam
    backbone: Backbone
    backbone_config: BackboneConfig
    backbone_fingerprint: str
    steps_per_epoch: int
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
        for data in (self.train, self.exam.data):
            for ids in (*data.sources, *data.targets):
                digest.update(np.append(ids, IGNORED).astype(np.int32).tobytes())
        return digest.hexdigest()

    def due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.total_steps


def config_of(run: Run) -> RunConfig:
    """The config a run was started with."""
    return RunConfig.parse(run.manifest["config"])


def backbone_of(config: RunConfig, device: str | None = None) -> Backbone:
    """The backbone a config names; `device` takes the place of the config's, and of its device map."""
    own = config.backbone
    return load_backbone(
        own.model,
        tokenizer=own.tokenizer,
        dtype=own.dtype,
        seed=own.model_seed,
        device=device or own.device,
        device_map=None if device else own.device_map,
    )


def cohort_key(config: RunConfig) -> dict[str, Any]:
    """What runs must agree on to be trained in one pass."""
    tree = config.tree()
    schedule = ("batch_size", "epochs", "steps", "batching")
    return {
        "task": tree["task"],
        "backbone": tree["backbone"],
        "prompt_length": config.method.prompt_length,
        **{name: tree["training"][name] for name in schedule},
        **{name: tree["logging"][name] for name in ("eval_every", "checkpoint_every")},
        "frozen backbone": config.run_id if config.method.trains_backbone else True,
    }


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
    task = task_of(config.task)
    splits = {name: load_split(task, name, config.task.data) for name in ("train", "validation")}
    backbone = backbone_of(config)
    targets, limit = config.task.targets, config.task.max_source_length
    check_tokenizer(backbone, task.answer_set(targets))
    train = encode(splits["train"], backbone, targets, limit, lessons=True)
    exam = set_exam(config.task, splits["validation"], backbone)
    check_length(backbone, config.method.prompt_length, [train, exam.data])
    n_rows = len(training_rows(train.examples, config.task, config.seed))
    per_epoch = -(-n_rows // config.training.batch_size)
    total = config.training.steps or config.training.epochs * per_epoch
    eval_every = config.logging.eval_every or per_epoch
    return Session(
        task=task,
        splits=splits,
        train=train,
        exam=exam,
        backbone=backbone,
        backbone_config=config.backbone,
        backbone_fingerprint=fingerprint(backbone),
        steps_per_epoch=per_epoch,
        total_steps=total,
        eval_every=eval_every,
        checkpoint_every=config.logging.checkpoint_every or eval_every,
    )


def check_length(backbone: Backbone, n: int, splits: Sequence[Encoded]) -> None:
    """Make sure that prompt, text and answer fit into a model whose positions are counted.

    Raises:
        RankprobeError: they do not.
    """
    limit = getattr(backbone.model.config, "max_position_embeddings", None)
    if limit is None:
        return
    longest = max(max(data.lengths) + (data.longest_label if backbone.causal else 0) for data in splits)
    if n + longest > limit:
        raise RankprobeError(
            f"model '{backbone.name}' has {limit} positions, and the prompt takes {n}, the longest text with "
            f"its answer {longest}; give a smaller --max-source-length or --prompt-length"
        )


def check_tokenizer(backbone: Backbone, answers: Sequence[str]) -> None:
    """Make sure that label texts can be taught and recognised.

    Raises:
        RankprobeError: the tokenizer has more pieces than the embedding has rows, has no padding piece,
            does not end a text with its end-of-sequence piece, or cannot tell the labels apart.
    """
    tokenizer, rows = backbone.tokenizer, len(backbone.embedding)
    problem = ""
    if len(tokenizer) > rows:
        problem = f"has {len(tokenizer)} pieces, and the model's embedding {rows} rows"
    elif tokenizer.eos_token_id is None:
        problem = "has no end-of-sequence piece, so an answer would never end"
    elif tokenizer.pad_token_id is None:
        problem = "has no padding piece"
    else:
        ids = backbone.answer_ids(answers) if answers else []
        texts = tuple(tokenizer.decode(each, skip_special_tokens=True).strip() for each in ids)
        if backbone.answer_ids(["a"])[0][-1] != tokenizer.eos_token_id:
            problem = "does not end a text with its end-of-sequence piece, so an answer would never end"
        elif texts != tuple(answers):
            problem = f"turns the labels {tuple(answers)} into {texts}; try other --targets"
    if problem:
        raise RankprobeError(f"the tokenizer of '{backbone.name}' {problem}; give another --tokenizer")
