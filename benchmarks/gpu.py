"""Training steps on a GPU: `python benchmarks/gpu.py --data SUPERGLUE --tokenizer T5`.

For shapes of T5 and of SmolLM2-135M with random bfloat16 weights: a step of one run and of eight seeds in
one pass, with all that belongs to a step (rows, losses, update, noise twins, rank measures, logs), next to a
plain step of PEFT on batches of the same rows. Printed for each:

- milliseconds per step and run, and the ratio of PEFT's step to ours, as a median over pairs with its range;
- MFU: matrix products of a step, counted by torch, over its time and the speed of a large product;
- eager attention / fused: the ratio of our steps, where we use torch's fused attention;
- busy: the share of a step in which the GPU computes, by torch's profiler.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from causal import save_shape
from contenders import NEVER
from peers import ratios
from threadpoolctl import threadpool_limits
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from rankprobe.bundled import FOLDER
from rankprobe.config import RunConfig
from rankprobe.training import loop
from rankprobe.training.checkpoints import new_folder, restore
from rankprobe.training.memory import MicroBatcher
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session, open_session

SMOLLM2 = "SmolLM2-135M's shape"


class Cohort:
    """Runs that are trained together, a step at a time."""

    def __init__(self, session: Session, configs: list[RunConfig], folder: Path, locks: ExitStack) -> None:
        self.session, self.step, self.members = session, 0, list[RunState]()
        self.parts = {"passes": 0.0, "updates": 0.0, "records": 0.0}
        for config in configs:
            member = RunState(config, session, folder / f"s{config.seed}")
            locks.enter_context(new_folder(member, [member.run.id]))
            restore(member, None)
            self.members.append(member)
        self.batcher = MicroBatcher(session, len(self.members))

    def take(self) -> None:
        self.step += 1
        with self._timed("passes"):
            self.batcher.map(self.members, partial(loop.forward_backward, self.session, self.step))
        with self._timed("updates"):
            for member in self.members:
                member.update(self.step)
        with self._timed("records"):
            loop.evaluate_and_record(self.session, self.members, self.batcher, self.step)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        synchronize(self.session.backbone.device)
        self.parts[name] += time.perf_counter() - start


class Peft:
    """PEFT's prompt tuning with AdamW, without a Trainer: bfloat16 weights, rows padded to the longest."""

    def __init__(self, session: Session, n: int, batch: int) -> None:
        import peft

        backbone, self.session, self.batch, self.step = session.backbone, session, batch, 0
        self.causal = not backbone.model.config.is_encoder_decoder
        network: Any = type(backbone.model)(copy.deepcopy(backbone.model.config))
        network = network.to(backbone.device, backbone.embedding_dtype)
        network.load_state_dict(backbone.model.state_dict())
        network.set_attn_implementation("sdpa" if self.causal else "eager")  # the defaults of transformers
        kind = "CAUSAL_LM" if self.causal else "SEQ_2_SEQ_LM"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            config = peft.PromptTuningConfig(
                task_type=kind, num_virtual_tokens=n, num_transformer_submodules=1
            )
            self.model = peft.get_peft_model(network, config).eval()
        train = [each for each in self.model.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(train, lr=0.3)

    def take(self) -> None:
        data, device = self.session.train, self.session.backbone.device
        chosen = [(self.step * self.batch + i) % len(data) for i in range(self.batch)]
        self.step += 1
        texts = [[*map(int, data.sources[row])] for row in chosen]
        labels = [[*map(int, data.targets[row])] for row in chosen]
        if self.causal:
            labels = [[-100] * len(text) + label for text, label in zip(texts, labels, strict=True)]
            texts = [text + label[len(text) :] for text, label in zip(texts, labels, strict=True)]
        ids, mask = padded(texts, 0), padded([[1] * len(text) for text in texts], 0)
        given = {"input_ids": ids, "attention_mask": mask, "labels": padded(labels, -100)}
        self.model(**{name: each.to(device) for name, each in given.items()}).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(take: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds per step, after one step that does not count."""
    take()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        take()
    synchronize(device)
    return (time.perf_counter() - start) / steps


def products_per_second(device: torch.device) -> float:
    """FLOP/s of a large product of bfloat16 matrices of random numbers."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, b), 10, device) for _ in range(3))


def flops(take: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        take()
    return counter.get_total_flops()


def busy(take: Callable[[], None], steps: int, device: torch.device) -> float:
    """Seconds per step in which kernels run; NaN on a CPU."""
    if device.type != "cuda":
        return float("nan")
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            take()
        synchronize(device)
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / steps


def measure(name: str, model: str, n: int, args: argparse.Namespace, peak: float) -> None:
    tokenizer = {"tokenizer": args.tokenizer} if model.startswith("random:") else {}
    settings = {
        "model": model, **tokenizer, "data": args.data, "dtype": "bfloat16", "method": "probe",
        "prompt_length": n, "twin": args.twin, "batch_size": args.batch, "eval_every": NEVER, "steps": 10**5,
    }  # fmt: skip
    configs = [RunConfig.parse({**settings, "seed": seed}) for seed in range(max(args.members))]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as locks:
        session = open_session(configs)
        device = session.backbone.device
        peft = Peft(session, n, args.batch)
        cohorts = {K: Cohort(session, configs[:K], Path(folder) / f"K{K}", locks) for K in args.members}
        theirs, ours = list[float](), {K: list[float]() for K in cohorts}
        network, eager = session.backbone.model, {K: list[float]() for K in cohorts}
        fused = network.config._attn_implementation == "sdpa"
        for _ in range(args.pairs):
            theirs.append(seconds(peft.take, args.steps, device))
            for K, cohort in cohorts.items():
                ours[K].append(seconds(cohort.take, args.steps, device) / K)
                if fused:
                    network.set_attn_implementation("eager")
                    eager[K].append(seconds(cohort.take, args.steps, device) / K)
                    network.set_attn_implementation("sdpa")
        work = flops(peft.take) / statistics.median(theirs) / peak
        share = busy(peft.take, 3, device) / statistics.median(theirs)
        print(f"{name}, n = {n}, batches of {args.batch}")
        print(f"  PEFT   {1000 * statistics.median(theirs):6.1f} ms, MFU {work:5.1%}, busy {share:4.0%}")
        for K, cohort in cohorts.items():
            each = statistics.median(ours[K])
            work = flops(cohort.take) / (K * each) / peak
            total = sum(cohort.parts.values())
            parts = ", ".join(f"{name} {value / total:.0%}" for name, value in cohort.parts.items())
            share = busy(cohort.take, 3, device) / (K * each)
            print(
                f"  K = {K:2d} {1000 * each:6.1f} ms a run, PEFT / ours {ratios(theirs, ours[K])}, "
                f"MFU {work:5.1%}, busy {share:4.0%}; {parts}",
                flush=True,
            )
            if fused:
                print(f"         eager attention / fused {ratios(eager[K], ours[K])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=["t5-small", "t5-base", "t5-large"])
    parser.add_argument("--causal", type=int, nargs="*", default=[20, 100], help=f"n for {SMOLLM2}")
    parser.add_argument("--tokenizer", default=str(FOLDER / "tiny"))
    parser.add_argument("--data", default="bundled")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--twin", default="gaussian")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=6, help="per program and pair")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peak = products_per_second(device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}: a large bfloat16 product reaches {peak / 1e12:.0f} TFLOP/s")
    with threadpool_limits(1, user_api="blas"), tempfile.TemporaryDirectory() as folder:
        for shape in args.shapes:
            measure(f"{shape}'s shape", f"random:{shape}", 100, args, peak)
        if args.causal:
            save_shape(folder, args.tokenizer)
        for n in args.causal:
            measure(SMOLLM2, folder, n, args, peak)


if __name__ == "__main__":
    main()
