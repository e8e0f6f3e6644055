"""What measuring costs: `python benchmarks/diagnostics.py` (or `make bench`).

Trains the probe on a T5-Small with random weights and times, step by step in one process, the training
proper (forward, backward, update), the rank measures and the log (spectra every 50 steps, as by default),
and the noise twin. Prints means over the steps and their ratios to the training. Checkpoints come once an
epoch and are not in it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from threadpoolctl import threadpool_limits

from rankprobe.bundled import FOLDER
from rankprobe.runs import create_run
from rankprobe.training import loop
from rankprobe.training.api import new_learner
from rankprobe.training.config import RunConfig
from rankprobe.training.manifest import new_manifest
from rankprobe.training.member import Member
from rankprobe.training.session import Session, open_session

PARTS = ("training", "diagnostics", "twin")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(session: Session, config: RunConfig, steps: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each part of each step, after two steps of warm-up."""
    learner = new_learner(config, session)
    run = create_run(folder / "run", new_manifest(config, session, learner))
    member = Member(config, session, learner, run)
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for step in range(1, steps + 3):
        training = seconds(lambda step=step: loop.gradients_for(session, [member], step))
        size, row = member.gradient_size(), {}
        training += seconds(lambda step=step, row=row: row.update(learner.update(step)))
        twin = seconds(lambda step=step, size=size: member.update_twin(step, size))
        diagnostics = seconds(lambda step=step, row=row: member.recorder.record(step, row, []))
        for part, value in zip(PARTS, (training, diagnostics, twin), strict=True):
            times[part].append(value)
    return {part: values[2:] for part, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:t5-small")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    config = RunConfig.from_flat({**vars(given), "steps": given.steps + 2})
    session = open_session([config])
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        times = measure(session, config, given.steps, Path(folder))
    mean = {part: statistics.fmean(values) for part, values in times.items()}
    print(f"{session.backbone.label}, {given.dtype}, {session.splits['train'].label}, {given.steps} steps")
    for part in PARTS:
        share = 100 * mean[part] / mean["training"]
        print(f"{part:12s} {1000 * mean[part]:9.2f} ms/step   {share:6.2f} % of the training")


if __name__ == "__main__":
    main()
