"""How fast a step is beside what a user would pick instead: `python benchmarks/peers.py` (or `make bench`).

Contenders run in turn, pair by pair, in one process; ratios are medians over the pairs with their range.
Without arguments: T5-Small's shape with random weights and the bundled CB rows; the table in
benchmarks/README.md is made with the official ones.
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

middle = statistics.median


def ratios(theirs: list[float], ours: list[float]) -> str:
    each = sorted(one / other for one, other in zip(theirs, ours, strict=True))
    return f"{middle(each):5.2f} × ({each[0]:.2f} to {each[-1]:.2f})"


def compare(name: str, theirs: Any, ours: Any, given: argparse.Namespace) -> None:
    pairs = [
        [statistics.fmean(each.steps(given.steps, seed)) for each in (theirs, ours)]
        for seed in range(given.pairs)
    ]
    one, other = ([pair[i] for pair in pairs] for i in (0, 1))
    print(f"{name:52s} {ratios(one, other)}   {middle(one):.2f} / {middle(other):.2f} s")


def compare_epochs(authors: Authors, contenders: list[Rankprobe], given: argparse.Namespace) -> None:
    """An epoch is its steps and one evaluation; the steps are those of `--steps`, scaled to the epoch."""
    session = contenders[0].session
    count, label = session.steps_per_epoch, session.exam.data.longest_label
    whole, short = "answers of 128 tokens", "answers as long as a label"
    epochs: dict[str, list[float]] = {name: [] for name in (whole, short, *(c.name for c in contenders))}
    for seed in range(given.pairs):
        theirs = statistics.fmean(authors.steps(given.steps, seed)) * count
        epochs[whole].append(theirs + authors.evaluation())
        epochs[short].append(theirs + authors.evaluation(label))
        for ours in contenders:
            steps = statistics.fmean(ours.steps(given.steps, seed)) * count
            epochs[ours.name].append(steps + ours.evaluation())
    for ours in contenders:
        for what in (whole, short):
            one, other = epochs[what], epochs[ours.name]
            print(f"epoch of {authors.name}, {what} / {ours.name}:")
            print(f"{'':52s} {ratios(one, other)}   {middle(one):.1f} / {middle(other):.1f} s")


def products_per_second(dtype: str, width: int, inner: int, device: str = "cpu") -> float:
    """FLOP/s of the feed-forward layer's product for 3,200 tokens, the median of thirty."""
    x, w = (torch.randn(rows, width).to(device, getattr(torch, dtype)) for rows in (3200, inner))
    times = []
    for _ in range(33):
        start = time.perf_counter()
        functional.linear(x, w)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 3200 * width * inner / middle(times[3:])


def share_of_machine(model: str, dtype: str, settings: dict[str, Any], given: argparse.Namespace) -> None:
    """4·N·tokens over the time of a step, as a share of the rate of the matrix product alone."""
    settings = {**settings, "model": model}
    session = session_for(settings, dtype)
    ours = Rankprobe(session, settings, dtype, dropout=False)
    config = session.backbone.model.config
    layers = session.backbone.model.get_encoder().named_parameters()
    size = sum(p.numel() for name, p in layers if "block" in name)
    shares, rates = [], []
    for seed in range(given.pairs):
        rate = products_per_second(dtype, config.d_model, config.d_ff)
        seconds = sum(ours.steps(given.steps, seed))
        shares.append(4 * size * sum(ours.tokens) / seconds / rate)
        rates.append(rate / 1e9)
    low, high = min(shares), max(shares)
    print(f"{model}, {dtype}: {middle(shares):.2f} ({low:.2f} to {high:.2f}) of {middle(rates):.0f} GFLOP/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:t5-small")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--steps", type=int, default=6, help="per contender and pair")
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    settings = {"model": given.model, "tokenizer": given.tokenizer, "data": given.data}
    sessions = {dtype: session_for(settings, dtype) for dtype in ("float32", "bfloat16")}

    def ours(dtype: str, *, dropout: bool = False) -> Rankprobe:
        return Rankprobe(sessions[dtype], settings, dtype, dropout=dropout)

    full = sessions["float32"]
    backbone, train = full.backbone.label, full.splits["train"].label
    print(f"{backbone}, {train}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"their time over ours, {given.pairs} pairs of {given.steps} steps; seconds per step, medians")
    for bf16, dropout in ((False, True), (True, True), (False, False), (True, False)):
        peft = Peft(full, bf16=bf16, dropout=dropout)
        if dropout:  # its default
            compare(f"{peft.name} / ours, bfloat16, off", peft, ours("bfloat16"), given)
        same = ours("bfloat16" if bf16 else "float32", dropout=dropout)
        compare(f"{peft.name} / ours the same", peft, same, given)
    authors = Authors(full)
    compare_epochs(authors, [ours("bfloat16"), ours("float32", dropout=True)], given)
    print("share of the matrix product's rate that 4·N·tokens reach, N of the encoder's blocks")
    for model, dtype in ((given.model, "float32"), (given.model, "bfloat16"), ("random:t5-base", "bfloat16")):
        share_of_machine(model, dtype, settings, given)


if __name__ == "__main__":
    main()
