"""How the cost of a step grows: `python benchmarks/growth.py` writes benchmarks/growth.png and .csv.

Seconds per step over prompt length, rows, members of the cohort and size of the model, compared with the time
of 4·N·tokens FLOPs at the speed of a plain matrix product (N: parameters of the encoder's blocks). Varies one
of them at a time, starting from T5-Small's shape, 100 prompt tokens, 16 rows and one member.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from peers import products_per_second
from threadpoolctl import threadpool_limits

from rankprobe.backbone import PromptInput, losses
from rankprobe.bundled import FOLDER
from rankprobe.config.run import RunConfig
from rankprobe.data.batching import collate, epoch_batches
from rankprobe.training.session import Session, open_session

CENTER = {"model": "random:t5-small", "n": 100, "rows": 16, "K": 1}
VARIED = {
    "n": [10, 20, 50, 100, 200],
    "rows": [2, 4, 8, 16, 32],
    "K": [1, 2, 4, 8, 16],
    "model": ["random:tiny", "random:t5-small", "random:t5-base"],
}
NAMES = {"n": "prompt tokens", "rows": "rows per member", "K": "members of the cohort", "model": "model"}


def step(session: Session, members: list[list[int]], n: int) -> float:
    """Return the seconds of one forward and backward pass over the rows of each member."""
    backbone = session.backbone
    prompts = [backbone.vocabulary()[:n].clone().requires_grad_() for _ in members]
    start = time.perf_counter()
    batch = collate(session.train, members, backbone.tokenizer.pad_token_id, backbone.device)
    torch.stack(losses(backbone, [PromptInput(P) for P in prompts], batch)).sum().backward()
    if backbone.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(session: Session, case: dict[str, Any], repeats: int, rate: float) -> dict[str, Any]:
    lengths = session.train.lengths
    seeds = [epoch_batches(lengths, case["rows"], "length", seed, 0) for seed in range(case["K"])]
    first = seeds[0]
    middle = sorted(range(len(first)), key=lambda i: max(lengths[row] for row in first[i]))[len(first) // 2]
    members = [batches[middle] for batches in seeds]  # each seed has other rows, as in a sweep
    times = [step(session, members, case["n"]) for _ in range(repeats + 1)][1:]
    blocks = session.backbone.model.get_encoder().named_parameters()
    size = sum(p.numel() for name, p in blocks if "block" in name)
    longest = max(lengths[row] for rows in members for row in rows)
    tokens = case["K"] * case["rows"] * (case["n"] + longest)
    return {**case, "N": size, "seconds": statistics.median(times), "bound": 4 * size * tokens / rate}


def draw(table: pd.DataFrame, title: str) -> Figure:
    figure, axes = plt.subplots(1, len(VARIED), figsize=(13, 3.2), sharey=True, layout="constrained")
    for axis, varied in zip(axes, VARIED, strict=True):
        part = table[table["varied"] == varied]
        x = part["N"] if varied == "model" else part[varied]
        axis.loglog(x, part["seconds"], "o-", label="measured")
        axis.loglog(x, part["bound"], "--", color="0.5", label="4·N·tokens at matrix product speed")
        if varied != "model":
            axis.set_xticks(VARIED[varied], [str(value) for value in VARIED[varied]], minor=False)
            axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("encoder parameters N" if varied == "model" else NAMES[varied])
    axes[0].set_ylabel("seconds per step")
    axes[0].legend(frameon=False)
    figure.suptitle(title)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    settings = {name: getattr(args, name) for name in ("tokenizer", "data", "dtype", "device")}
    rows = []
    with threadpool_limits(1, user_api="blas"):
        for model in VARIED["model"]:
            session = open_session([RunConfig.parse({"model": model, **settings})])
            config = session.backbone.model.config
            rate = products_per_second(args.dtype, config.d_model, config.d_ff, args.device)
            for varied, values in VARIED.items():
                if varied != "model" and model != CENTER["model"]:
                    continue
                for value in [model] if varied == "model" else values:
                    case = {**CENTER, varied: value}
                    rows.append({"varied": varied, **measure(session, case, args.repeats, rate)})
    table = pd.DataFrame(rows)
    folder = Path(__file__).parent
    table.to_csv(folder / "growth.csv", index=False, float_format="%.4g")
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else "CPU"
    threads = f", {torch.get_num_threads()} threads" if args.device == "cpu" else ""
    title = f"forward and backward pass, random weights, {args.dtype}, {device}{threads}"
    draw(table, title).savefig(folder / "growth.png", dpi=150)
    cohort = table[table["varied"] == "K"]
    alone = cohort["seconds"].iloc[0]
    print("runs trained in the time of one run alone")
    for members, seconds in zip(cohort["K"], cohort["seconds"], strict=True):
        print(f"K = {members:2d}: {members * alone / seconds:.2f}")


if __name__ == "__main__":
    main()
