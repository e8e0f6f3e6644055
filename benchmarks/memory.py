"""Peak memory of a training step for T5-Base's shape: `python benchmarks/memory.py` (or `make bench`).

Each program takes three steps in its own process; the peak is the resident memory that the kernel reports.
For rankprobe it also prints `activation_bytes`: the bytes of tensors, without weights, for a batch of the
longest texts. Resident memory grows by more, because the heap keeps freed memory (`backbone/allocator.py`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from typing import Any

from contenders import BATCH, PROMPT, Peft, Rankprobe, config_for

from rankprobe.bundled import FOLDER
from rankprobe.training.memory import activation_bytes
from rankprobe.training.session import open_session

RECOMPUTING = {"gradient_checkpointing": True}


def peak(name: str, settings: dict[str, Any]) -> tuple[float, float | None]:
    """Return the peak resident memory of this process in GiB, and our estimate for a pass in GiB."""
    kind, precision, *more = name.split(", ")
    ours, dropout = kind == "rankprobe", "dropout" in more
    settings = settings | (RECOMPUTING if "gradient checkpointing" in more else {})
    session = open_session([config_for(settings, precision if ours else "float32", dropout and ours, 0)])
    if ours:
        Rankprobe(session, settings, precision, dropout=dropout).steps(3, seed=0)
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
    print(f"peak resident memory, {settings['model']}, 16 rows per step")
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
            resident, estimate = pool.apply(peak, (name, settings))
        tensors = "" if estimate is None else f"   estimate for a pass {estimate:5.1f} GiB"
        print(f"{name:48s} {resident:5.1f} GiB{tensors}", flush=True)


if __name__ == "__main__":
    main()
