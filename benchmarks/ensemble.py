"""What an ensemble costs: `python benchmarks/ensemble.py` (or `make bench`).

Answers a dev split with k prompts, in one batched pass and one prompt after the other, in turn, on the
bundled backbone, with one, four and sixteen texts per pass. Prints the ratios of the times, the median of the
pairs with its range, and checks that the answers are the same.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from rankprobe.backbone import Backbone, Soft
from rankprobe.training.config import RunConfig
from rankprobe.training.evaluation import answers
from rankprobe.training.exam import Exam
from rankprobe.training.session import open_session


def seconds(exam: Exam, backbone: Backbone, passes: list[list[Soft]], batch: int) -> tuple[float, list]:
    start = time.perf_counter()
    given = [texts for softs in passes for texts in answers(exam, backbone, softs, batch, "greedy")]
    return time.perf_counter() - start, given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=5, help="prompts")
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 4, 16], help="per pass")
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    session = open_session([RunConfig.from_flat({"method": "vanilla"})])
    generator = torch.Generator().manual_seed(0)
    vocabulary = session.backbone.vocabulary()
    rows = [torch.randint(len(vocabulary), (100,), generator=generator) for _ in range(given.k)]
    softs = [Soft(vocabulary[row]) for row in rows]
    print(f"time of one pass with {given.k} prompts, as a share of {given.k} passes with one")
    for texts in given.texts:
        ratios = []
        for _ in range(given.pairs + 1):
            together, one = seconds(session.exam, session.backbone, [softs], texts)
            apart, other = seconds(session.exam, session.backbone, [[soft] for soft in softs], texts)
            assert one == other, "the answers differ"
            ratios.append(together / apart)
        ratios = sorted(ratios[1:])  # the first pair warms up
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {given.pairs} pairs"
        print(f"{texts:3d} texts per pass: {statistics.median(ratios):.2f} ({spread}), the same answers")


if __name__ == "__main__":
    main()
