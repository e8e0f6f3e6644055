"""The speed of a step compared with alternatives: `python benchmarks/peers.py` (or `make bench`).

Programs alternate, pair by pair, in one process; ratios are medians over the pairs, with their range.
Without arguments it uses T5-Small's shape with random weights and the bundled CB rows; the table in
benchmarks/README.md uses the official rows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from contenders import Authors, Peft, Rankprobe, session_for
from torch.nn import functional

from rankprobe.bundled import FOLDER

median = statistics.median


def ratios(theirs: list[float], ours: list[float]) -> str:
    values = sorted(one / other for one, other in zip(theirs, ours, strict=True))
    return f"{median(values):5.2f} × ({values[0]:.2f} to {values[-1]:.2f})"


def compare(name: str, theirs: Any, ours: Any, args: argparse.Namespace) -> None:
    pairs = [
        [statistics.fmean(program.steps(args.steps, seed)) for program in (theirs, ours)]
        for seed in range(args.pairs)
    ]
    one, other = ([pair[i] for pair in pairs] for i in (0, 1))
    print(f"{name:52s} {ratios(one, other)}   {median(one):.2f} / {median(other):.2f} s")


def compare_epochs(authors: Authors, programs: list[Rankprobe], args: argparse.Namespace) -> None:
    """Compare epochs: `--steps` steps, scaled to the length of an epoch, plus one evaluation."""
    session = programs[0].session
    count, label = session.steps_per_epoch, session.eval_set.data.max_answer_length
    whole, short = "answers of 128 tokens", "answers as long as a label"
    epochs: dict[str, list[float]] = {
        name: [] for name in (whole, short, *(program.name for program in programs))
    }
    for seed in range(args.pairs):
        theirs = statistics.fmean(authors.steps(args.steps, seed)) * count
        epochs[whole].append(theirs + authors.evaluation())
        epochs[short].append(theirs + authors.evaluation(label))
        for ours in programs:
            steps = statistics.fmean(ours.steps(args.steps, seed)) * count
            epochs[ours.name].append(steps + ours.evaluation())
    for ours in programs:
        for what in (whole, short):
            one, other = epochs[what], epochs[ours.name]
            print(f"epoch of {authors.name}, {what} / {ours.name}:")
            print(f"{'':52s} {ratios(one, other)}   {median(one):.1f} / {median(other):.1f} s")


def products_per_second(dtype: str, width: int, inner: int, device: str = "cpu") -> float:
    """Return the FLOP/s of the matrix product of a feed-forward layer for 3,200 tokens: the median of 30."""
    x, w = (torch.randn(rows, width).to(device, getattr(torch, dtype)) for rows in (3200, inner))
    times = []
    for _ in range(33):
        start = time.perf_counter()
        functional.linear(x, w)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 3200 * width * inner / median(times[3:])


def share_of_machine(model: str, dtype: str, settings: dict[str, Any], args: argparse.Namespace) -> None:
    """Print 4·N·tokens per second of a step, as a share of the speed of a plain matrix product."""
    settings = {**settings, "model": model}
    session = session_for(settings, dtype)
    ours = Rankprobe(session, settings, dtype, dropout=False)
    config = session.backbone.model.config
    layers = session.backbone.model.get_encoder().named_parameters()
    size = sum(p.numel() for name, p in layers if "block" in name)
    shares, rates = [], []
    for seed in range(args.pairs):
        rate = products_per_second(dtype, config.d_model, config.d_ff)
        seconds = sum(ours.steps(args.steps, seed))
        shares.append(4 * size * sum(ours.tokens) / seconds / rate)
        rates.append(rate / 1e9)
    low, high = min(shares), max(shares)
    print(f"{model}, {dtype}: {median(shares):.2f} ({low:.2f} to {high:.2f}) of {median(rates):.0f} GFLOP/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:t5-small")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--steps", type=int, default=6, help="per program and pair")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    settings = {"model": args.model, "tokenizer": args.tokenizer, "data": args.data}
    sessions = {dtype: session_for(settings, dtype) for dtype in ("float32", "bfloat16")}

    def ours(dtype: str, *, dropout: bool = False) -> Rankprobe:
        return Rankprobe(sessions[dtype], settings, dtype, dropout=dropout)

    full = sessions["float32"]
    backbone, train = full.backbone.label, full.splits["train"].label
    print(f"{backbone}, {train}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"their time over ours, {args.pairs} pairs of {args.steps} steps; seconds per step, medians")
    for bf16, dropout in ((False, True), (True, True), (False, False), (True, False)):
        peft = Peft(full, bf16=bf16, dropout=dropout)
        if dropout:  # its default
            compare(f"{peft.name} / ours, bfloat16, off", peft, ours("bfloat16"), args)
        same = ours("bfloat16" if bf16 else "float32", dropout=dropout)
        compare(f"{peft.name} / ours the same", peft, same, args)
    authors = Authors(full)
    compare_epochs(authors, [ours("bfloat16"), ours("float32", dropout=True)], args)
    print("4·N·tokens per second as a share of the speed of the matrix product (N: encoder blocks)")
    for model, dtype in (
        (args.model, "float32"),
        (args.model, "bfloat16"),
        ("random:t5-base", "bfloat16"),
    ):
        share_of_machine(model, dtype, settings, args)


if __name__ == "__main__":
    main()
