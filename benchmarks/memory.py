"""Peak memory of a training step for T5-Base's shape: `python benchmarks/memory.py` (or `make bench`).

Each contender takes three steps in a process of its own; the peak is the kernel's (resident memory). Beside
ours: the bytes of tensors, without weights, that `activation_bytes` counts for a batch of the longest texts.
The heap keeps freed memory in pieces (`backbone/allocator.py`), so resident memory grows by more.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from typing import Any

from contenders import BATCH, PROMPT, Peft, Rankprobe, config_for

from rankprobe.bundled import FOLDER
from rankprobe.training.room import activation_bytes
from rankprobe.training.session import open_session

RECOMPUTING = {"gradient_checkpointing": True}


def peak(name: str, settings: dict[str, Any]) -> tuple[float, float | None]:
    """GiB of resident memory at the most, in this process, and those that our estimate counts."""
    kind, precision, *more = name.split(", ")
    ours, dropout = kind == "rankprobe", "dropout" in more
    own = settings | (RECOMPUTING if "gradient checkpointing" in more else {})
    session = open_session([config_for(own, precision if ours else "float32", dropout and ours, 0)])
    if ours:
        Rankprobe(session, own, precision, dropout=dropout).steps(3, seed=0)
    else:
        Peft(session, bf16=precision == "bf16", dropout=True).steps(3, seed=0)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return resident, activation_bytes(session, PROMPT, BATCH) / 2**30 if ours else None


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
        "rankprobe, float32, dropout",
        "rankprobe, float32, gradient checkpointing",
        "rankprobe, bfloat16",
        "rankprobe, bfloat16, gradient checkpointing",
    ):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            resident, counted = pool.apply(peak, (name, settings))
        tensors = "" if counted is None else f"   estimate for a pass {counted:5.1f} GiB"
        print(f"{name:48s} {resident:5.1f} GiB{tensors}", flush=True)


if __name__ == "__main__":
    main()
