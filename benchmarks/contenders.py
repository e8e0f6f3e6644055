"""Who is compared: rankprobe, PEFT's prompt tuning in transformers' Trainer, and the DPT authors' loop.

All train a prompt of 100 tokens on the same rows through the same frozen weights, 16 rows a step. Each has
`steps(count, seed)`: the seconds of each of `count` steps, after a first one that warms up. The two loops
also have `evaluation()`: the seconds to answer the dev split.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from rankprobe.backbone import Backbone, Soft
from rankprobe.runs import create_run
from rankprobe.training import loop
from rankprobe.training.api import new_learner
from rankprobe.training.batching import Encoded
from rankprobe.training.config import RunConfig
from rankprobe.training.evaluation import evaluate
from rankprobe.training.manifest import new_manifest
from rankprobe.training.member import Member
from rankprobe.training.room import Room
from rankprobe.training.session import Session, open_session

BATCH = 16
PROMPT = 100
NEVER = 10**6


def switch(on: bool) -> str:
    return "on" if on else "off"


def between(ends: list[float]) -> list[float]:
    return [end - start for start, end in pairwise(ends)]


def session_for(settings: dict[str, Any], dtype: str) -> Session:
    return open_session([config_for(settings, dtype, False, 0)])


def config_for(settings: dict[str, Any], dtype: str, dropout: bool, seed: int) -> RunConfig:
    own = {"method": "vanilla", "dtype": dtype, "dropout": dropout, "seed": seed, "eval_every": NEVER}
    return RunConfig.from_flat({**settings, **own, "batch_size": BATCH, "prompt_length": PROMPT})


def network(backbone: Backbone, *, dropout: bool) -> Any:
    """The same weights in a model as transformers builds it, in float32."""
    config = type(backbone.model.config).from_dict(backbone.model.config.to_dict())
    config.dropout_rate = config.dropout_rate if dropout else 0.0
    model = type(backbone.model)(config)
    model.load_state_dict(backbone.model.state_dict())
    return model.requires_grad_(False)


class Rankprobe:
    """The loop as a user gets it: noise twin, rank measures and logs included."""

    def __init__(self, session: Session, settings: dict[str, Any], dtype: str, *, dropout: bool) -> None:
        self.name = f"rankprobe, {dtype}, dropout {switch(dropout)}"
        self.session, self.settings, self.dtype, self.dropout = session, settings, dtype, dropout

    def steps(self, count: int, seed: int) -> list[float]:
        config, ends = config_for(self.settings, self.dtype, self.dropout, seed), []
        learner = new_learner(config, self.session)
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
            run = create_run(Path(folder) / "run", new_manifest(config, self.session, learner))
            member, room = Member(config, self.session, learner, run), Room(self.session, 1)
            for step in range(1, count + 2):
                loop.gradients_for(self.session, [member], step)
                updates = loop.update([member], step, [])
                loop.record(self.session, [member], room, step, updates, [])
                ends.append(time.perf_counter())
            self.tokens = [self._tokens(member.rows(step)) for step in range(2, count + 2)]
            member.stop("interrupted")
        return between(ends)

    def _tokens(self, rows: list[int]) -> int:
        """Encoder tokens of a batch, its padding included."""
        return len(rows) * (PROMPT + max(self.session.train.lengths[row] for row in rows))

    def evaluation(self) -> float:
        backbone = self.session.backbone
        soft = Soft(backbone.vocabulary()[:PROMPT])
        start = time.perf_counter()
        evaluate(self.session.exam, backbone, [soft], BATCH)
        return time.perf_counter() - start


class Peft:
    """PEFT's prompt tuning at its defaults in transformers' Trainer: rows shuffled, padded per batch."""

    def __init__(self, session: Session, *, bf16: bool, dropout: bool) -> None:
        import peft
        from transformers import DataCollatorForSeq2Seq

        self.name = f"PEFT + Trainer, {'bf16' if bf16 else 'fp32'}, dropout {switch(dropout)}"
        self.bf16, self.on_cpu = bf16, session.backbone.device.type == "cpu"
        config = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=PROMPT)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            self.model = peft.get_peft_model(network(session.backbone, dropout=dropout), config)
        self.collate = DataCollatorForSeq2Seq(session.backbone.tokenizer)
        pairs = zip(session.train.sources, session.train.targets, strict=True)
        self.rows = [{"input_ids": [*map(int, one)], "labels": [*map(int, other)]} for one, other in pairs]

    def steps(self, count: int, seed: int) -> list[float]:
        from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

        ends = []

        class Watch(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                ends.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            arguments = Seq2SeqTrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=BATCH,
                max_steps=count + 1,
                bf16=self.bf16,
                use_cpu=self.on_cpu,
                learning_rate=0.3,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=seed,
            )
            trainer = Seq2SeqTrainer(
                self.model,
                arguments,
                train_dataset=self.rows,  # type: ignore[arg-type]
                data_collator=self.collate,
                callbacks=[Watch()],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return between(ends)


class Authors:
    """What the released DPT code does in a step and an evaluation, written anew.

    Texts are tokenised each time they are met and padded to 256 tokens, targets to 128; dropout is on;
    P = A·B with b = 10; AdamW, linear schedule, gradients clipped to norm 1; the dev split is answered by
    `generate` up to 128 tokens, every epoch. Its data loader's four worker processes are left out.
    """

    SOURCE, TARGET = 256, 128

    def __init__(self, session: Session) -> None:
        self.name = "the authors' loop, fp32"
        self.session = session
        self.model = network(session.backbone, dropout=True)
        embedding = session.backbone.d_model
        self.factors = [nn.Parameter(torch.randn(PROMPT, 10)), nn.Parameter(torch.randn(10, embedding))]

    def steps(self, count: int, seed: int) -> list[float]:
        from transformers import get_linear_schedule_with_warmup

        optimizer = torch.optim.AdamW(self.factors, lr=0.3, weight_decay=1e-5)
        schedule = get_linear_schedule_with_warmup(optimizer, 160, 1600)
        generator, data, ends = torch.Generator().manual_seed(seed), self.session.train, []
        order = torch.randperm(len(data), generator=generator).tolist()
        self.model.train()
        for step in range(count + 1):
            embeds, mask, labels = self._batch(data, order[step * BATCH : (step + 1) * BATCH])
            self.model(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss.backward()
            nn.utils.clip_grad_norm_(self.factors, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            ends.append(time.perf_counter())
        return between(ends)

    @torch.no_grad()
    def evaluation(self, longest: int = TARGET) -> float:
        """`longest`: tokens to generate, 128 in that code; a trained prompt ends its answers earlier."""
        data = self.session.exam.data
        self.model.eval()
        start = time.perf_counter()
        for first in range(0, len(data), BATCH):
            embeds, mask, _ = self._batch(data, list(range(first, min(first + BATCH, len(data)))))
            answers = self.model.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=longest)
            self.session.backbone.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return time.perf_counter() - start

    def _batch(self, data: Encoded, rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        tokenizer, task = self.session.backbone.tokenizer, self.session.task
        examples = [data.examples[row] for row in rows]
        sources = [task.source(each.fields) for each in examples]
        targets = [task.target(each, self.session.exam.targets) for each in examples]
        padded = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        source = tokenizer(sources, max_length=self.SOURCE, **padded)
        target = tokenizer(targets, max_length=self.TARGET, **padded)
        text = self.model.get_input_embeddings()(source.input_ids)
        prompt = (self.factors[0] @ self.factors[1]).expand(len(rows), -1, -1)
        mask = torch.cat([source.attention_mask.new_ones(len(rows), PROMPT), source.attention_mask], 1)
        labels = target.input_ids.masked_fill(target.attention_mask == 0, -100)
        return torch.cat([prompt, text], 1), mask, labels
