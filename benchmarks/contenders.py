"""The compared programs: rankprobe, PEFT's prompt tuning in transformers' Trainer, the DPT authors' loop.

All train a prompt of 100 tokens on the same rows with the same frozen weights, 16 rows per step. Each class
has `steps(count, seed)`: the seconds of each of `count` steps, after one warm-up step. Rankprobe and Authors
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

from rankprobe.backbone import Backbone, PromptInput
from rankprobe.config.run import RunConfig
from rankprobe.data.encoding import Encoded
from rankprobe.evaluation.scoring import evaluate_prompts
from rankprobe.training import loop
from rankprobe.training.checkpoints import new_folder, restore, stop
from rankprobe.training.memory import MicroBatcher
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session, open_session

BATCH = 16
PROMPT = 100
NEVER = 10**6
"""Steps between evaluations: more than any benchmark takes."""


def switch(on: bool) -> str:
    return "on" if on else "off"


def differences(ends: list[float]) -> list[float]:
    return [end - start for start, end in pairwise(ends)]


def session_for(settings: dict[str, Any], dtype: str) -> Session:
    return open_session([config_for(settings, dtype, False, 0)])


def config_for(settings: dict[str, Any], dtype: str, dropout: bool, seed: int) -> RunConfig:
    fixed = {"method": "vanilla", "dtype": dtype, "dropout": dropout, "seed": seed, "eval_every": NEVER}
    return RunConfig.parse({**settings, **fixed, "batch_size": BATCH, "prompt_length": PROMPT})


def network(backbone: Backbone, *, dropout: bool) -> Any:
    """Return the same weights in the unmodified model of transformers, in float32."""
    config = type(backbone.model.config).from_dict(backbone.model.config.to_dict())
    config.dropout_rate = config.dropout_rate if dropout else 0.0
    model = type(backbone.model)(config)
    model.load_state_dict(backbone.model.state_dict())
    return model.requires_grad_(False)


class Rankprobe:
    """The training loop with default logging: noise twin, rank measures and logs are included."""

    def __init__(self, session: Session, settings: dict[str, Any], dtype: str, *, dropout: bool) -> None:
        self.name = f"rankprobe, {dtype}, dropout {switch(dropout)}"
        self.session, self.settings, self.dtype, self.dropout = session, settings, dtype, dropout

    def steps(self, count: int, seed: int) -> list[float]:
        config, ends = config_for(self.settings, self.dtype, self.dropout, seed), []
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
            member = RunState(config, self.session, Path(folder) / "run")
            with new_folder(member, ["run"]):
                restore(member, None)
            batcher = MicroBatcher(self.session, 1)
            for step in range(1, count + 2):
                loop.forward_backward(self.session, step, [member])
                member.update(step)
                loop.evaluate_and_record(self.session, [member], batcher, step)
                ends.append(time.perf_counter())
            self.tokens = [self._tokens(member.rows(step)) for step in range(2, count + 2)]
            stop(member, "interrupted")
        return differences(ends)

    def _tokens(self, rows: list[int]) -> int:
        """Return the encoder tokens of a batch, including padding."""
        return len(rows) * (PROMPT + max(self.session.train.lengths[row] for row in rows))

    def evaluation(self) -> float:
        backbone = self.session.backbone
        prompt = PromptInput(backbone.vocabulary()[:PROMPT])
        start = time.perf_counter()
        evaluate_prompts(self.session.eval_set, backbone, [prompt], BATCH)
        return time.perf_counter() - start


class Peft:
    """PEFT's prompt tuning with its defaults in transformers' Trainer: shuffled rows, padded per batch."""

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
        self.rows = [{"input_ids": [*map(int, ids)], "labels": [*map(int, target)]} for ids, target in pairs]

    def steps(self, count: int, seed: int) -> list[float]:
        from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

        ends = []

        class Timer(TrainerCallback):
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
                callbacks=[Timer()],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return differences(ends)


class Authors:
    """A reimplementation of one step and one evaluation of the released DPT code.

    Texts are tokenised at every use and padded to 256 tokens, targets to 128; dropout is on; P = A·B with
    b = 10; AdamW with a linear schedule; gradients are clipped to norm 1; every epoch, `generate` answers the
    dev split with up to 128 tokens. The four worker processes of its data loader are omitted.
    """

    SOURCE, TARGET = 256, 128

    def __init__(self, session: Session) -> None:
        self.name = "the authors' loop, fp32"
        self.session = session
        self.model = network(session.backbone, dropout=True)
        d = session.backbone.d_model
        self.factors = [nn.Parameter(torch.randn(PROMPT, 10)), nn.Parameter(torch.randn(10, d))]

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
        return differences(ends)

    @torch.no_grad()
    def evaluation(self, max_new_tokens: int = TARGET) -> float:
        """Return the seconds of an evaluation.

        Args:
            max_new_tokens: 128 in the released code; with a trained prompt, the answers end earlier.
        """
        data = self.session.eval_set.data
        self.model.eval()
        start = time.perf_counter()
        for first in range(0, len(data), BATCH):
            embeds, mask, _ = self._batch(data, list(range(first, min(first + BATCH, len(data)))))
            answers = self.model.generate(
                inputs_embeds=embeds, attention_mask=mask, max_new_tokens=max_new_tokens
            )
            self.session.backbone.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return time.perf_counter() - start

    def _batch(self, data: Encoded, rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        tokenizer, task = self.session.backbone.tokenizer, self.session.task
        examples = [data.examples[row] for row in rows]
        sources = [task.source(example.fields) for example in examples]
        targets = [task.target(example, self.session.eval_set.targets) for example in examples]
        padded = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        source = tokenizer(sources, max_length=self.SOURCE, **padded)
        target = tokenizer(targets, max_length=self.TARGET, **padded)
        text = self.model.get_input_embeddings()(source.input_ids)
        prompt = (self.factors[0] @ self.factors[1]).expand(len(rows), -1, -1)
        mask = torch.cat([source.attention_mask.new_ones(len(rows), PROMPT), source.attention_mask], 1)
        labels = target.input_ids.masked_fill(target.attention_mask == 0, -100)
        return torch.cat([prompt, text], 1), mask, labels
