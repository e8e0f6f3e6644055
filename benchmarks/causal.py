"""A decoder-only model: a step beside PEFT, an evaluation beside `generate`: `python benchmarks/causal.py`.

The model has the shape of SmolLM2-135M with random weights in bfloat16; `--model` gives another one. PEFT's
model has the same weights in the same precision, gets the same batches, and is updated by a plain AdamW loop
without a Trainer. `per text` is our step if the model reads the prompt again before each text.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from peers import ratios
from threadpoolctl import threadpool_limits

from rankprobe.backbone import Backbone, PromptInput, losses
from rankprobe.backbone.load import load_tokenizer
from rankprobe.bundled import FOLDER
from rankprobe.config import RunConfig
from rankprobe.data import collate, epoch_batches
from rankprobe.evaluation.scoring import evaluate_prompts
from rankprobe.training.session import Session, open_session

ROWS = 8


def save_shape(folder: str, tokenizer: str) -> None:
    """Save a model with the shape of SmolLM2-135M and random weights, with the tokenizer."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    pieces = load_tokenizer(tokenizer)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        bos_token_id=pieces.eos_token_id,
        eos_token_id=pieces.eos_token_id,
        pad_token_id=pieces.pad_token_id,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    pieces.save_pretrained(folder)


def ours(session: Session, backbone: Backbone, n: int, batches: list[list[int]]) -> Iterator[None]:
    P = torch.nn.Parameter(backbone.vocabulary(n))
    optimizer = torch.optim.AdamW([P], lr=0.05)
    for rows in batches:
        batch = collate(session.train, [rows], backbone.tokenizer.pad_token_id, backbone.device)
        losses(backbone, [PromptInput(P)], batch)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def pefts(session: Session, wrapped: Any, batches: list[list[int]]) -> Iterator[None]:
    train = [each for each in wrapped.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(train, lr=0.05)
    for rows in batches:
        texts = [[*session.train.sources[row], *session.train.targets[row]] for row in rows]
        labels = [[-100] * len(session.train.sources[row]) + [*session.train.targets[row]] for row in rows]
        longest = max(map(len, texts))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        goal = torch.tensor([each + [-100] * (longest - len(each)) for each in labels])
        wrapped(input_ids=ids, attention_mask=mask, labels=goal).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def peft_model(backbone: Backbone, n: int) -> Any:
    import peft

    config = copy.deepcopy(backbone.model.config)  # ours keeps its own kind of attention
    model = type(backbone.model)(config).to(backbone.embedding_dtype)
    model.load_state_dict(backbone.model.state_dict())
    model.set_attn_implementation("sdpa")  # the default of transformers
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n)
        return peft.get_peft_model(model, config).eval()


def seconds(steps: Iterator[None]) -> float:
    """Seconds per step, after one step that does not count."""
    next(steps)
    start = time.perf_counter()
    count = sum(1 for _ in steps)
    return (time.perf_counter() - start) / count


def evaluation(session: Session, backbone: Backbone, n: int) -> float:
    start = time.perf_counter()
    evaluate_prompts(session.eval_set, backbone, [PromptInput(backbone.vocabulary(n))], ROWS)
    return time.perf_counter() - start


@torch.no_grad()
def generation(session: Session, wrapped: Any) -> float:
    """Seconds in which PEFT's `generate` answers the same rows, sorted by length and padded on the left."""
    data, start = session.eval_set.data, time.perf_counter()
    order = sorted(range(len(data)), key=lambda row: data.lengths[row])
    for first in range(0, len(data), ROWS):
        texts = [[*map(int, data.sources[row])] for row in order[first : first + ROWS]]
        longest = max(map(len, texts))
        ids = torch.tensor([[0] * (longest - len(text)) + text for text in texts])
        mask = torch.tensor([[0] * (longest - len(text)) + [1] * len(text) for text in texts])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Position ids are not supported", UserWarning)
            wrapped.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=session.eval_set.max_new_tokens,
                do_sample=False, pad_token_id=0,
            )  # fmt: skip
    return time.perf_counter() - start


def compare(session: Session, n: int, args: argparse.Namespace) -> None:
    once = session.backbone
    per_text = replace(once, prompt_once=False, padding_after_prompt=False)
    wrapped, times = peft_model(once, n), {name: list[float]() for name in ("PEFT", "per text", "once")}
    answers = {name: list[float]() for name in ("generate", "per text", "once")}
    for seed in range(args.pairs):
        order = epoch_batches(session.train.lengths, ROWS, "length", seed, 0)[: args.steps + 1]
        times["PEFT"].append(seconds(pefts(session, wrapped, order)))
        times["per text"].append(seconds(ours(session, per_text, n, order)))
        times["once"].append(seconds(ours(session, once, n, order)))
        answers["generate"].append(generation(session, wrapped))
        answers["per text"].append(evaluation(session, per_text, n))
        answers["once"].append(evaluation(session, once, n))
    for what, table in (("step", times), ("evaluation", answers)):
        for name in list(table)[:2]:
            medians = f"{statistics.median(table[name]):.2f} / {statistics.median(table['once']):.2f} s"
            print(f"n = {n:3d}, {what:10s} {name:9s} / ours {ratios(table[name], table['once'])}   {medians}")
    print(f"n = {n:3d}, evaluation / step, ours       {ratios(answers['once'], times['once'])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="default: SmolLM2-135M's shape, random weights")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--steps", type=int, default=4, help="per program and pair")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 100])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        if args.model is None:
            save_shape(folder, args.tokenizer)
        settings = {"model": args.model or folder, "dtype": "bfloat16", "data": args.data}
        session = open_session([RunConfig.parse({**settings, "prompt_length": max(args.lengths)})])
        print(f"{session.backbone.label}, {session.splits['train'].label}, torch {torch.__version__}")
        for n in args.lengths:
            compare(session, n, args)


if __name__ == "__main__":
    main()
