"""Checks the scale `paper` end to end, so that the first command on a cluster does not fail early.

python -m experiments.paper_check DATA TOKENIZER            # hours on two cores
python -m experiments.paper_check DATA TOKENIZER --quick    # one seed, and T5-Small's shape for all models

Runs `rankprobe sweep --scale paper` for every experiment, then every figure and table that it draws. Models
are random weights of the true shapes (T5-Large is T5-Small here), rows are the first official ones of each
task, and there is one step of two rows. Everything else is as in the specs: methods, bottlenecks, lengths,
seeds, shots. Ends with 1 if a command fails or a figure misses runs.

DATA: the folder of the official SuperGLUE release. TOKENIZER: a folder with T5's tokenizer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from experiments.cost import FOLDER, paper_specs

SHAPES = {"t5-small": "random:t5-small", "t5-base": "random:t5-base", "t5-large": "random:t5-small"}
"""The model of the check for each model of the paper."""

ROWS = {"train": 32, "val": 2}
"""Rows of each split; 32 is the largest number of shots."""


def few_rows(data: Path, target: Path) -> Path:
    """Copy the first rows of each official task into `target`, a folder of the same layout."""
    for source in sorted(data.glob("*/*.jsonl")):
        if source.stem in ROWS:
            rows = ROWS[source.stem]
            with source.open(encoding="utf-8") as lines:
                kept = "".join(islice(lines, rows))
            place = target / source.parent.name / source.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(kept, encoding="utf-8")
    return target


def sweep_command(
    path: Path,
    runs: Path,
    data: str,
    tokenizer: str | None,
    models: Sequence[str],
    extra: Mapping[str, object],
) -> list[str]:
    """Return the arguments of `rankprobe sweep` for one experiment."""
    settings = {
        "model": list(dict.fromkeys(models)),
        "data": data,
        "device": "cpu",
        "steps": 1,
        "batch_size": 2,
    }
    settings |= {"tokenizer": tokenizer} if tokenizer else {}
    settings |= extra
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    return ["sweep", str(path), "--scale", "paper", "--runs-dir", str(runs), *words]


def drawing_commands(draws: Sequence[str], runs: Path, figures: Path) -> list[list[str]]:
    """Return the arguments that draw the figures and print the tables of one experiment."""
    return [
        ["table", name, "--runs-dir", str(runs)]
        if name.startswith("table")
        else ["plot", name, "--scale", "paper", "--runs-dir", str(runs), "--output", str(figures)]
        for name in draws
    ]


NOTHING_LEARNED = "runs with a functional rank, and there are none"
"""The error of a figure of functional ranks if no run scores above its baseline. After one step on random
weights this is no failure."""


def run(arguments: Sequence[str]) -> str | None:
    """Run a `rankprobe` command; return the end of its output if it fails or misses runs, else None."""
    command = [sys.executable, "-m", "rankprobe", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent)
    if NOTHING_LEARNED in done.stderr:
        print(f"not drawn, because nothing was learned: rankprobe {' '.join(arguments[:2])}", flush=True)
    elif done.returncode or "runs are missing" in done.stderr:
        return "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
    return None


def check(
    data: str,
    tokenizer: str | None,
    folder: Path,
    *,
    only: Sequence[str] = (),
    shapes: Mapping[str, str] = SHAPES,
    extra: Mapping[str, object] | None = None,
) -> list[str]:
    """Run all commands and return the failures.

    Args:
        data: rows of all tasks of the experiments, as for `--data`.
        tokenizer: for the models; None: their own.
        folder: of the runs and figures.
        only: names of experiments; empty: all with a scale `paper`.
        shapes: the model of the check for each model of the paper.
        extra: further settings for all runs.
    """
    failures: list[str] = []
    for name, spec in paper_specs().items():
        if only and name not in only:
            continue
        named = spec.scale["paper"].get("model", spec.settings.get("model", "t5-base"))
        models = [shapes[model] for model in ([named] if isinstance(named, str) else named)]
        # A folder per experiment, because a figure of all runs would be drawn from those of the others too.
        runs, start = folder / name, time.perf_counter()
        commands = [sweep_command(FOLDER / f"{name}.toml", runs, data, tokenizer, models, extra or {})]
        commands += drawing_commands(spec.draws, runs, folder / "figures" / name)
        for arguments in commands:
            if problem := run(arguments):
                failures.append(f"rankprobe {' '.join(arguments)}\n{problem}")
                print(f"FAILED {failures[-1]}", flush=True)
                break
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description="Check the scale paper with one step per run.")
    parser.add_argument("data", type=Path, help="folder of the official SuperGLUE release")
    parser.add_argument("tokenizer", help="folder with T5's tokenizer")
    parser.add_argument("--quick", action="store_true", help="one seed, and T5-Small's shape for all models")
    parser.add_argument("--only", action="append", default=[], help="an experiment; repeatable; unset: all")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paper-check-") as folder:
        rows = few_rows(given.data, Path(folder) / "superglue")
        shapes = dict.fromkeys(SHAPES, SHAPES["t5-small"]) if given.quick else SHAPES
        extra = {"seed": 1} if given.quick else {}
        failures = check(
            str(rows), given.tokenizer, Path(folder), only=given.only, shapes=shapes, extra=extra
        )
    print(
        f"{len(failures)} failures"
        if failures
        else "every experiment, figure and table of the scale paper works"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
