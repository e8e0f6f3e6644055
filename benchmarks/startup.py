"""The time of commands that only read: `python benchmarks/startup.py` (or `make bench`).

Copies one short run into 1,000 finished runs of 1,600 steps in a temporary folder, and times commands as a
user starts them. Prints the median and the maximum of three.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from rankprobe.config.run import RunConfig
from rankprobe.training.api import train

STEPS = 1600
REPEATS = 3


def lengthen(path: Path, count: int) -> None:
    """Repeat the rows of a log until it has one row per step."""
    log = pd.read_parquet(path)
    rows = pd.concat([log] * (count // len(log) + 1), ignore_index=True).head(count)
    rows["step"] = range(count) if path.stem == "steps" else rows["step"]
    rows.to_parquet(path, index=False)


def many_runs(folder: Path, count: int) -> Path:
    settings = {"model": "random:tiny", "prompt_length": 100, "steps": 32, "batch_size": 2, "eval_every": 16}
    first = train(RunConfig.parse(settings), runs_dir=folder / "one", name="run").path
    lengthen(first / "steps.parquet", STEPS + 1)
    for number in range(count):
        run = folder / "runs" / f"run-{number:04d}"
        shutil.copytree(first, run)
        manifest = json.loads((run / "manifest.json").read_text())
        manifest["config"]["seed"] = number
        (run / "manifest.json").write_text(json.dumps(manifest))
    return folder / "runs"


def seconds(command: list[str]) -> str:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return f"{statistics.median(times):6.2f} s (at most {max(times):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    args = parser.parse_args()
    command = [sys.executable, "-m", "rankprobe"]
    print("rankprobe --help".ljust(40), seconds([*command, "--help"]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = str(many_runs(Path(folder), args.runs))
        what = f"{args.runs} runs of {STEPS} steps"
        load = f"import rankprobe; print(len(rankprobe.load_runs({runs!r}).steps))"
        plot = [*command, "plot", "fig3", "--runs-dir", runs, "--output", folder]
        print(
            f"rankprobe runs, {what}".ljust(40), seconds([*command, "runs", "--runs-dir", runs]), flush=True
        )
        print(f"load_runs, {what}".ljust(40), seconds([sys.executable, "-c", load]), flush=True)
        print(f"rankprobe plot fig3, {what}".ljust(40), seconds(plot), flush=True)


if __name__ == "__main__":
    main()
