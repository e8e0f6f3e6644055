"""The soak: short cohorts, evaluations, truncations and plots in one process, again and again.

python tests/faults/soak.py --minutes 60 --plot tests/soak.png

Resident memory, open files and threads are read after every round and must stay flat: prints where they stood, and
the slope of memory per hour and per hundred rounds. Ends with 1 where open files or threads grow, or memory does so
by more than 1 % per hour.
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
from rankprobe.plots.save import save_figure
from rankprobe.training.config import RunConfig

WARM_UP = 0.1
"""Share of the time before which nothing is judged: libraries are loaded, pools and caches filled."""

MOST = 0.01
"""Growth of resident memory per hour that passes, as a share of it."""

SETTINGS = {
    "model": "random:tiny",
    "prompt_length": 8,
    "steps": 8,
    "batch_size": 8,
    "eval_every": 4,
    "checkpoint_every": 2,
}


def round_of_work(number: int, here: Path) -> None:
    """A cohort, an interruption and a resume, every reading of it, a sweep, and a failure."""
    runs_dir = str(here / "runs")
    methods = ("probe", "vanilla", "residual")
    configs = [RunConfig.from_flat({**SETTINGS, "method": m, "seed": number}) for m in methods]

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
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            rankprobe_command(command)
        except SystemExit as stop:
            if (stop.code or 0) != code:
                raise RuntimeError(f"{command} ended with {stop.code}: {said.getvalue()}") from None


def standing() -> dict[str, float]:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "resident_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def soak(minutes: float) -> pd.DataFrame:
    """Rounds of work for so long: a row after each."""
    rows, began = [], time.monotonic()
    while (passed := time.monotonic() - began) < minutes * 60:
        here = Path(tempfile.mkdtemp())
        round_of_work(len(rows), here)
        shutil.rmtree(here)
        rows.append({"minute": passed / 60, **standing()})
    return pd.DataFrame(rows)


def verdict(rows: pd.DataFrame) -> tuple[list[str], bool]:
    """Lines to print, and whether all is flat."""
    warm = rows[rows["minute"] >= WARM_UP * rows["minute"].max()]
    fit = linregress(warm["minute"] / 60, warm["resident_mib"])
    level = warm["resident_mib"].mean()
    lines = [
        f"{len(rows)} rounds in {rows['minute'].max():.0f} minutes, judged from minute {warm['minute'].min():.0f}"
    ]
    flat = fit.slope <= MOST * level
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
    asked = options.parse_args()
    torch.set_num_threads(1)
    rows = soak(asked.minutes)
    lines, flat = verdict(rows)
    print("\n".join(lines))
    if asked.plot:
        draw(rows, asked.plot)
    sys.exit(not flat)


if __name__ == "__main__":
    main()
