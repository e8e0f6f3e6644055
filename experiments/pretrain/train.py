"""Pretrains a bundled backbone: `python -m experiments.pretrain.train tiny`.

Writes the backbone to `rankprobe/bundled/<size>/` and the log beside this file.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from experiments.pretrain.corpus import MIXTURES, Pair, corrupt, pair, speaker
from experiments.pretrain.pieces import N_SENTINELS, tokenizer
from experiments.pretrain.scores import monitored
from rankprobe.backbone.score import IGNORED
from rankprobe.bundled import FOLDER

HERE = Path(__file__).parent
SEED = 20231206

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "d_model": 128,
        "d_kv": 32,
        "num_heads": 4,
        "d_ff": 384,
        "num_layers": 4,
        "num_decoder_layers": 3,
    },
    "mini": {
        "d_model": 256,
        "d_kv": 64,
        "num_heads": 4,
        "d_ff": 512,
        "num_layers": 4,
        "num_decoder_layers": 3,
    },
}
STAGES = {
    "tiny": ((0, 11_000, 0.02), (1, 6000, 0.015), (2, 3500, 0.015)),
    "mini": ((0, 6500, 0.015), (0, 4000, 0.02), (1, 4000, 0.015), (2, 1500, 0.015)),
}
"""Number of the mixture, steps, and peak learning rate of each stage, which begins with a new optimizer."""
BATCH = 64
BATCHES_PER_CHUNK = 50
WARMUP = 300
FILLER = 0.2
"""Share of batches with up to 100 random words before the text, as a soft prompt will stand there. From the
middle of pretraining on: they are costly, and slow the beginning."""
REPORT_EVERY = 500

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def batches(pieces: Any, stage: int, mixture: int, steps: int) -> Iterator[Batch]:
    """Batches of like length, from chunks of fresh examples."""
    say, rng = speaker("train" if stage == 0 else f"train {stage}"), random.Random(SEED + stage)
    sentinels = pieces.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(N_SENTINELS)])
    words = sorted({i for ids in pieces([pair(say).source for _ in range(2000)]).input_ids for i in ids[:-1]})
    done = 0
    while done < steps:
        rows = encoded(
            [pair(say, MIXTURES[mixture]) for _ in range(BATCH * BATCHES_PER_CHUNK)], pieces, sentinels, rng
        )
        rows.sort(key=lambda row: len(row[0]))
        cut = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        rng.shuffle(cut)
        for part in cut[: steps - done]:
            done += 1
            filler = rng.randint(5, 100) if done > steps / 2 and rng.random() < FILLER else 0
            yield collated([(filled(source, filler, words, rng), target) for source, target in part])


def encoded(
    pairs: list[Pair], pieces: Any, sentinels: list[int], rng: random.Random
) -> list[tuple[list[int], list[int]]]:
    sources = pieces([p.source for p in pairs]).input_ids
    targets = pieces([p.target or "" for p in pairs]).input_ids
    return [
        (source, target) if p.target else corrupt(source, sentinels, pieces.eos_token_id, rng)
        for p, source, target in zip(pairs, sources, targets, strict=True)
    ]


def filled(source: list[int], count: int, words: list[int], rng: random.Random) -> list[int]:
    return rng.choices(words, k=count) + source if count else source


def collated(rows: list[tuple[list[int], list[int]]]) -> Batch:
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sources = torch.zeros(len(rows), longest[0], dtype=torch.long)
    labels = torch.full((len(rows), longest[1]), IGNORED)
    for i, (source, target) in enumerate(rows):
        sources[i, : len(source)] = torch.tensor(source)
        labels[i, : len(target)] = torch.tensor(target)
    return sources, sources.ne(0).long(), labels


def row_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, a row of L answer tokens weighing √L: between one vote a token and one vote a row."""
    each = functional.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    root = labels.ne(IGNORED).sum(1).sqrt()
    return (each.sum(1) / root).sum() / root.sum()


def new_model(size: str, pieces: Any) -> T5ForConditionalGeneration:
    special = {
        "decoder_start_token_id": pieces.pad_token_id,
        "pad_token_id": pieces.pad_token_id,
        "eos_token_id": pieces.eos_token_id,
    }
    config = T5Config(vocab_size=len(pieces), dropout_rate=0.0, **special, **SIZES[size])
    torch.manual_seed(SEED)
    return T5ForConditionalGeneration._from_config(config, attn_implementation="eager")


def saved(folder: Path) -> T5ForConditionalGeneration:
    """The backbone as the stage before has left it."""
    return T5ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )


def scaled_groups(model: torch.nn.Module, rate: float) -> list[dict[str, Any]]:
    """Parameters, each with a learning rate in proportion to its root mean square, as in T5's own recipe."""
    return [
        {"params": [p], "lr": rate * max(p.detach().square().mean().sqrt().item(), 1e-3)}
        for p in model.parameters()
    ]


def pretrain(size: str, stage: int, folder: Path) -> None:
    """One stage; all but the first go on from the weights that the one before has saved in `folder`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pieces = tokenizer()
    model: Any = saved(folder) if stage else new_model(size, pieces)
    model = model.train().to(device)
    mixture, steps, rate = STAGES[size][stage]
    optimizer = torch.optim.AdamW(scaled_groups(model, rate), betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP, max(0.02, 1 - (step - WARMUP) / (steps - WARMUP)))
    )
    began, seen = time.monotonic(), 0.0
    with (HERE / f"{size}.jsonl").open("a" if stage else "w") as log:
        for step, (sources, mask, labels) in enumerate(batches(pieces, stage, mixture, steps), start=1):
            sources, mask, labels = sources.to(device), mask.to(device), labels.to(device)
            with torch.autocast(device, torch.bfloat16):
                logits = model(input_ids=sources, attention_mask=mask, labels=labels).logits
            loss = row_loss(logits, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            seen += loss.item()
            if step % REPORT_EVERY == 0 or step == steps:
                scores = monitored(model, pieces, per_task=100)
                row = {
                    "stage": stage,
                    "step": step,
                    "loss": round(seen / REPORT_EVERY, 4),
                    "minutes": round((time.monotonic() - began) / 60, 1),
                    **scores,
                }
                seen = 0.0
                log.write(json.dumps(row) + "\n")
                log.flush()
                print(json.dumps(row), flush=True)
                save(model, pieces, folder)


def save(model: T5ForConditionalGeneration, pieces: Any, folder: Path) -> None:
    """Write what `load_backbone` reads, the weights in bfloat16, those that are tied once."""
    once = {value.data_ptr(): name for name, value in reversed(model.state_dict().items())}
    weights = {name: model.state_dict()[name].to(torch.bfloat16) for name in once.values()}
    model.save_pretrained(folder, state_dict=weights)
    pieces.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--stage", type=int, help="from 0 on; unset: all in turn")
    parser.add_argument("--folder", type=Path, help="unset: the package's own")
    given = parser.parse_args()
    for stage in range(len(STAGES[given.size])) if given.stage is None else [given.stage]:
        pretrain(given.size, stage, given.folder or FOLDER / given.size)


if __name__ == "__main__":
    main()
