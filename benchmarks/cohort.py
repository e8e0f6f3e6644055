"""A cohort of seeds compared with single runs: `python benchmarks/cohort.py`.

K runs with different seeds are trained in one pass per step, and one run alone, with all that belongs to a
step: rows, losses, update, noise twin, rank measures, logs. The ratio is the number of runs that the cohort
trains in the time of one run alone. The two alternate, pair by pair.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from peers import median
from threadpoolctl import threadpool_limits

from rankprobe.bundled import FOLDER
from rankprobe.config import RunConfig
from rankprobe.training import loop
from rankprobe.training.checkpoints import new_folder, restore
from rankprobe.training.memory import MicroBatcher
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session, open_session

NEVER = 10**6


def seconds(session: Session, configs: list[RunConfig], first: int, steps: int) -> float:
    """Seconds per step of these runs from step `first` on, after one step that does not count."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as locks, threadpool_limits(1, "blas"):
        members = []
        for config in configs:
            member = RunState(config, session, Path(folder) / f"s{config.seed}")
            locks.enter_context(new_folder(member, [member.run.id]))
            restore(member, None)
            members.append(member)
        batcher, start = MicroBatcher(session, len(members)), 0.0
        for step in range(first, first + steps + 1):
            if step == first + 1:
                start = time.perf_counter()
            batcher.map(members, partial(loop.forward_backward, session, step))
            for member in members:
                member.update(step)
            loop.evaluate_and_record(session, members, batcher, step)
        return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="random:t5-small")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--order", default="shared", help="of batches: shared or own")
    parser.add_argument("--members", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--steps", type=int, default=6, help="per pair")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    tokenizer = {} if args.model in ("tiny", "mini") else {"tokenizer": args.tokenizer}
    settings = {"model": args.model, **tokenizer, "data": args.data, "dtype": args.dtype, "method": "probe",
                "batch_order": args.order, "eval_every": NEVER}  # fmt: skip
    configs = [RunConfig.parse({**settings, "seed": seed}) for seed in range(max(args.members))]
    session = open_session(configs)
    print(f"{session.backbone.label}, {session.splits['train'].label}, {args.dtype}, order {args.order}")
    for count in args.members:
        found = []
        for pair in range(args.pairs):
            first = 1 + pair * (args.steps + 1)
            alone = seconds(session, configs[pair % count : pair % count + 1], first, args.steps)
            together = seconds(session, configs[:count], first, args.steps)
            found.append((count * alone / together, alone, together / count))
        found.sort()
        low, high = found[0][0], found[-1][0]
        one, each = (median(row[i] for row in found) for i in (1, 2))
        print(
            f"K = {count}: {median(row[0] for row in found):.2f} runs ({low:.2f} to {high:.2f}) in the time "
            f"of one; {1000 * one:.0f} ms alone, {1000 * each:.0f} ms each",
            flush=True,
        )


if __name__ == "__main__":
    main()
