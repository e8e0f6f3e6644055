"""The soak test: repeat short cohorts, evaluations, truncations and plots in one process.

python tests/faults/soak.py --minutes 60 --plot tests/soak.png

Resident memory, open files and threads are measured after every round and must stay constant. Prints their values,
and the growth of memory per hour. Exits with 1 if open files or threads grow, or memory grows by more than 1 % per
hour.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import linregress

import rankprobe as rp
from rankprobe.cli import main as rankprobe_command
from rankprobe.config.run import RunConfig
from rankprobe.plots.save import save_figure

WARM_UP = 0.1
"""Share of the time that is not judged: libraries are loaded, and pools and caches are filled."""

MAX_GROWTH = 0.01
"""Largest accepted growth of resident memory per hour, as a share of its mean."""

SETTINGS = {
    "model": "random:tiny",
    "prompt_length": 8,
    "steps": 8,
    "batch_size": 8,
    "eval_every": 4,
    "checkpoint_every": 2,
}


def round_of_work(number: int, here: Path) -> None:
    """Train a cohort with an interruption and a resume, run every command that reads it, and one that fails."""
    runs_dir = str(here / "runs")
    methods = ("probe", "vanilla", "residual")
    configs = [RunConfig.parse({**SETTINGS, "method": m, "seed": number}) for m in methods]

    def stop(record):
        if record.step == 3 and not (here / "stopped").exists():
            (here / "stopped").touch()
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        rp.train_cohort(configs, runs_dir=runs_dir, hooks=[stop])
    runs = rp.resume(rp.list_runs(runs_dir))
    for command in (
        ["eval", *(run.id for run in runs), "--ensemble"],
        ["truncate", runs[0].id, "--k", "2"],
        ["analyze", runs[0].id],
        ["plot", "fig3", "fig9", "--output", str(here / "figures")],
        ["table", "table2"],
        ["probe", "--data", "none"],
    ):
        quietly([*command, "--runs-dir", runs_dir], code=2 if "none" in command else 0)


def quietly(command: list[str], code: int) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            rankprobe_command(command)
        except SystemExit as stop:
            if (stop.code or 0) != code:
                raise RuntimeError(f"{command} ended with {stop.code}: {output.getvalue()}") from None


def usage() -> dict[str, float]:
    """Return the memory, open files and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "resident_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def soak(minutes: float) -> pd.DataFrame:
    """Repeat rounds of work; return one row of measurements per round."""
    rows, start = [], time.monotonic()
    while (passed := time.monotonic() - start) < minutes * 60:
        here = Path(tempfile.mkdtemp())
        round_of_work(len(rows), here)
        shutil.rmtree(here)
        rows.append({"minute": passed / 60, **usage()})
    return pd.DataFrame(rows)


def verdict(rows: pd.DataFrame) -> tuple[list[str], bool]:
    """Return lines to print, and whether everything stayed constant."""
    warm = rows[rows["minute"] >= WARM_UP * rows["minute"].max()]
    fit = linregress(warm["minute"] / 60, warm["resident_mib"])
    level = warm["resident_mib"].mean()
    lines = [
        f"{len(rows)} rounds in {rows['minute'].max():.0f} minutes, judged from minute {warm['minute'].min():.0f}"
    ]
    flat = fit.slope <= MAX_GROWTH * level
    lines.append(
        f"resident memory: {level:.0f} MiB on average, {warm['resident_mib'].min():.0f} to "
        f"{warm['resident_mib'].max():.0f}, {fit.slope:+.1f} ± {1.96 * fit.stderr:.1f} MiB per hour"
    )
    for column, name in (("open_files", "open files"), ("threads", "threads")):
        half = len(warm) // 2
        early, late = warm[column].iloc[:half].max(), warm[column].iloc[half:].max()
        flat &= late <= early
        lines.append(f"{name}: at most {early:.0f} in the first half, {late:.0f} in the second")
    return lines, bool(flat)


def draw(rows: pd.DataFrame, path: Path) -> None:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    panels = figure.subplots(3, sharex=True, height_ratios=(2, 1, 1))
    labels = ("resident memory\n(MiB)", "open files", "threads")
    for panel, column, label in zip(panels, ("resident_mib", "open_files", "threads"), labels, strict=True):
        panel.plot(rows["minute"], rows[column], color="black", linewidth=0.8)
        panel.set_ylim(0, 1.2 * rows[column].max())
        panel.set_ylabel(label)
    panels[-1].set_xlabel("time (minutes)")
    save_figure(figure, path)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--plot", type=Path)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    rows = soak(arguments.minutes)
    lines, flat = verdict(rows)
    print("\n".join(lines))
    if arguments.plot:
        draw(rows, arguments.plot)
    sys.exit(not flat)


if __name__ == "__main__":
    main()
