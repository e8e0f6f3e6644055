"""The cost of an ensemble: `python benchmarks/ensemble.py` (or `make bench`).

Answers a dev split with k prompts, alternately in one batched pass and with one prompt after the other, on
the bundled backbone, with 1, 4 and 16 texts per pass. Prints the median ratio of the times with its range,
and checks that the answers are the same.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from rankprobe.backbone import Backbone, PromptInput
from rankprobe.config.run import RunConfig
from rankprobe.data.eval_set import EvalSet
from rankprobe.evaluation.scoring import answer
from rankprobe.training.session import open_session


def seconds(
    eval_set: EvalSet, backbone: Backbone, passes: list[list[PromptInput]], batch: int
) -> tuple[float, list]:
    start = time.perf_counter()
    answers = [
        texts
        for prompt_inputs in passes
        for texts in answer(eval_set, backbone, prompt_inputs, batch, "greedy")
    ]
    return time.perf_counter() - start, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=5, help="prompts")
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 4, 16], help="per pass")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    session = open_session([RunConfig.parse({"method": "vanilla"})])
    generator = torch.Generator().manual_seed(0)
    vocabulary = session.backbone.vocabulary()
    rows = [torch.randint(len(vocabulary), (100,), generator=generator) for _ in range(args.k)]
    prompt_inputs = [PromptInput(vocabulary[row]) for row in rows]
    print(f"time of one pass with {args.k} prompts, divided by the time of {args.k} passes with one prompt")
    for texts in args.texts:
        ratios = []
        for _ in range(args.pairs + 1):
            one_pass, answers = seconds(session.eval_set, session.backbone, [prompt_inputs], texts)
            alone, expected = seconds(
                session.eval_set, session.backbone, [[prompt] for prompt in prompt_inputs], texts
            )
            assert answers == expected, "the answers differ"
            ratios.append(one_pass / alone)
        ratios = sorted(ratios[1:])  # the first pair is the warm-up
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {args.pairs} pairs"
        print(f"{texts:3d} texts per pass: {statistics.median(ratios):.2f} ({spread}), the same answers")


if __name__ == "__main__":
    main()
