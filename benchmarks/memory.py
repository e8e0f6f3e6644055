"""Peak memory of a training step for T5-Base's shape: `python benchmarks/memory.py` (or `make bench`).

Each contender takes three steps in a process of its own; the peak is the kernel's (resident memory).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from typing import Any

from contenders import Peft, Rankprobe, session_for

from rankprobe.bundled import FOLDER

RECOMPUTING = {"gradient_checkpointing": True}


def peak(name: str, settings: dict[str, Any]) -> float:
    """GiB of resident memory at the most, in this process."""
    kind, precision, *more = name.split(", ")
    if kind == "PEFT + Trainer":
        contender = Peft(session_for(settings, "float32"), bf16=precision == "bf16", dropout=True)
    else:
        own = settings | (RECOMPUTING if more else {})
        contender = Rankprobe(session_for(own, precision), own, precision, dropout=False)
    contender.steps(3, seed=0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:t5-base")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    settings = vars(parser.parse_args())
    print(f"peak resident memory, {settings['model']}, 16 rows a step")
    for name in (
        "PEFT + Trainer, fp32",
        "PEFT + Trainer, bf16",
        "rankprobe, float32",
        "rankprobe, bfloat16",
        "rankprobe, bfloat16, gradient checkpointing",
    ):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(f"{name:48s} {pool.apply(peak, (name, settings)):5.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
