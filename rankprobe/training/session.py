"""What the members of a cohort share: the backbone, the tokenised data, and when things happen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rankprobe.backbone import (
    Backbone,
    Soft,
    check_fits,
    check_model,
    chosen_device,
    chosen_dtype,
    decode,
    fingerprint,
    likeliest,
    load_backbone,
    recomputing,
)
from rankprobe.backbone.score import IGNORED
from rankprobe.errors import RankprobeError
from rankprobe.hub import first_line
from rankprobe.runs import Run
from rankprobe.tasks import Split, Task, load_split
from rankprobe.training.batching import Encoded, collate, encode
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
    own = on_this_machine(config).backbone
    return load_backbone(
        own.model,
        tokenizer=own.tokenizer,
        dtype=own.dtype,
        seed=own.model_seed,
        device=device or own.device,
        device_map=None if device else own.device_map,
    )


def on_this_machine(config: RunConfig) -> RunConfig:
    """The config with the device and the dtype that its run has here, as its manifest will name them."""
    own = config.backbone
    dtype = own.dtype or config.default_dtype
    chosen = {
        "dtype": chosen_dtype(dtype, own.device, own.device_map),
        "device": own.device if own.device_map else chosen_device(own.device, dtype),
    }
    return config.model_copy(update={"backbone": own.model_copy(update=chosen)})


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
    task.check_targets(config.task.targets)
    check_model(config.backbone.model)  # before the rows, which may have to be fetched for it
    splits = {name: load_split(task, name, config.task.data) for name in ("train", "validation")}
    backbone = backbone_of(config)
    targets, limit = config.task.targets, config.task.max_source_length
    check_tokenizer(backbone, task.answer_set(targets), task.answers_from)
    train = encode(splits["train"], backbone, targets, limit, lessons=True)
    exam = set_exam(config.task, splits["validation"], backbone, train.longest_label)
    check_length(backbone, config.method.prompt_length, [train.size, exam.size])
    check_answers(exam, backbone, config.method.prompt_length)
    if config.backbone.gradient_checkpointing:
        with recomputing(backbone.model):
            pass  # a model that cannot recompute is refused here, before a run folder is made
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


def check_length(backbone: Backbone, n: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Make sure that the model takes a prompt of `n` tokens, the longest text and the longest answer.

    Args:
        backbone: the model.
        n: prompt length.
        sizes: tokens of the longest text and of the longest answer, of each split.

    Raises:
        RankprobeError: it does not.
    """
    if backbone.causal:
        sizes = [max(sizes, key=sum)]
    texts, answers = zip(*sizes, strict=True)
    check_fits(backbone, n, max(texts), max(answers))


def check_answers(exam: Exam, backbone: Backbone, n: int) -> None:
    """Make sure that the model answers in the ways the exam asks for: one row, a token or two of it.

    Raises:
        RankprobeError: it does not. The other way of answering may work, if the task has a set of answers.
    """
    data, softs = exam.data, [Soft(torch.zeros(n, backbone.d_model))]
    batch = collate(data, [[0]], backbone.tokenizer.pad_token_id, backbone.device)
    candidates = exam.task.candidates(data.examples[0], exam.targets)
    for scoring in exam.scoring:
        try:
            if scoring == "greedy":
                decode(backbone, softs, batch, min(2, exam.max_new_tokens))
            else:
                likeliest(backbone, softs, batch, [backbone.answer_ids(candidates)])
        except Exception as error:  # code of any architecture
            does, other = ("decode", "rank") if scoring == "greedy" else ("rank", "greedy")
            way_out = f"give --answers {other}" if candidates else "use a model like T5, GPT-2 or Llama"
            raise RankprobeError(
                f"model '{backbone.name}' cannot {does} answers ({first_line(error)}); {way_out}"
            ) from error


def check_tokenizer(backbone: Backbone, answers: Sequence[str], answers_from: str = "") -> None:
    """Make sure that label texts can be taught and recognised.

    Args:
        backbone: with the tokenizer.
        answers: the label texts.
        answers_from: what decides them, where `targets` does not; see `Task.answers_from`.

    Raises:
        RankprobeError: the tokenizer has more pieces than the embedding has rows, has no padding piece,
            does not end a text with its end-of-sequence piece, or cannot tell the labels apart.
    """
    tokenizer, rows = backbone.tokenizer, backbone.n_rows
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
            change = f"change {answers_from}" if answers_from else "try other --targets"
            problem = f"turns the labels {tuple(answers)} into {texts}; {change}"
    if problem:
        raise RankprobeError(f"the tokenizer of '{backbone.name}' {problem}; give another --tokenizer")
