"""The cost of rank measures and noise twins: `python benchmarks/diagnostics.py` (or `make bench`).

Trains the probe on a T5-Small with random weights. In each step it times the training (forward, backward,
update), the diagnostics (rank measures and logs, spectra every 50 steps as by default), and the noise twins.
Prints means over the steps and their ratios to the training. Checkpoints, once per epoch, are not included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from rankprobe.bundled import FOLDER
from rankprobe.config.run import RunConfig
from rankprobe.training import loop
from rankprobe.training.checkpoints import new_folder, restore
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session, open_session

PARTS = ("training", "diagnostics", "twins")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(session: Session, config: RunConfig, steps: int, folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each part of each step, after two warm-up steps."""
    member = RunState(config, session, folder / "run")
    with new_folder(member, ["run"]):
        restore(member, None)
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    update = member.twins.update

    def timed_update(step: int, gradient: Any, flipped: Any = None) -> dict[str, float | None]:
        start = time.perf_counter()
        statistics = update(step, gradient, flipped)
        times["twins"].append(time.perf_counter() - start)
        return statistics

    member.twins.update = timed_update
    for step in range(1, steps + 3):
        training = seconds(lambda step=step: loop.forward_backward(session, step, [member]))
        training += seconds(lambda step=step: member.update(step))
        times["training"].append(training - times["twins"][-1])
        times["diagnostics"].append(seconds(lambda step=step: member.record(step)))
    return {part: values[2:] for part, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:t5-small")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    config = RunConfig.parse({**vars(args), "steps": args.steps + 2})
    session = open_session([config])
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        times = measure(session, config, args.steps, Path(folder))
    mean = {part: statistics.fmean(values) for part, values in times.items()}
    print(f"{session.backbone.label}, {args.dtype}, {session.splits['train'].label}, {args.steps} steps")
    for part in PARTS:
        share = 100 * mean[part] / mean["training"]
        print(f"{part:12s} {1000 * mean[part]:9.2f} ms/step   {share:6.2f} % of the training")


if __name__ == "__main__":
    main()
