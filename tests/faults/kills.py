"""The kill campaign: SIGKILL a sweep and its plotting at random moments, then give the same command again.

python tests/faults/kills.py --kills 100 --seed 0

Half of the kills come from outside at a random time. The other half come inside, just before or after a random call
of fsync, replace, rename, mkdir or the write of a log. After each kill every run folder is read and compared with an
undisturbed sweep; after each sweep everything is compared. Half of the heartbeats that kills leave are made those of
a dead process on another host, which must be taken over too. Exits with 1 if anything is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers.models.t5.modeling_t5  # noqa: F401

# Imported here, so that the child processes need no time for it.
import rankprobe.plots
import rankprobe.sweeps  # noqa: F401
from rankprobe.cli import main as rankprobe_command
from rankprobe.runs import CHECKPOINTS, LOGS, Run, list_runs
from rankprobe.runs.checkpoint import last_checkpoint
from rankprobe.runs.heartbeat import CLAIM, HEARTBEAT, STALE, read_signature
from rankprobe.runs.logs import AppendLog

EVERY = 5
"""Steps between checkpoints: the most steps that a kill may lose."""

SPEC = f"""
title = "what the kills hit"
draws = ["fig3", "fig5", "fig9"]
[settings]
model = "random:tiny"
data = "bundled"
batch_size = 8
steps = 24
eval_every = 12
checkpoint_every = {EVERY}
spectrum_every = 6
prompt_length = 8
seed = [1, 2]
[[grid]]
method = "dpt"
bottleneck = [2, 4]
[[grid]]
method = "probe"
dropout = [false, true]
"""

CALLS = {"sweep": 160, "plot": 40}
"""A kill from inside comes at one of this many file calls, counted from the start of the command."""

PLOTS = 3
"""How often the plotting of each sweep is killed at most."""

FILE_CALLS = ("fsync", "replace", "rename", "link", "mkdir", "unlink")


@dataclass
class Tally:
    """The results that the campaign prints."""

    kills: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    heartbeats: int = 0
    losses: list[str] = field(default_factory=list)


def in_child(command: list[str], said: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Run a rankprobe command in a child process, and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    with said.open("a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    code = 1
    try:
        prepare()
        rankprobe_command(command)
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def die_at(count: int, note: Path) -> None:
    """Make this process kill itself at its `count`-th file call, and write the kind of call to `note`."""
    left = count

    def deadly(name: str, function: Callable) -> Callable:
        def wrapped(*args, **settings):
            nonlocal left
            left -= 1
            if left == 0:
                note.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **settings)
            left -= 1
            if left == 0:
                note.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    for name in FILE_CALLS:
        setattr(os, name, deadly(name, getattr(os, name)))
    AppendLog.write = deadly("log write", AppendLog.write)


def killed(command: list[str], here: Path, chance: random.Random, seconds: float) -> str | None:
    """Run a command and kill it. Return where the kill came, or None if the command ended before it."""
    note, said = here / "note", here / "said"
    note.unlink(missing_ok=True)
    if chance.random() < 0.5:
        pid = in_child(command, said)
        deadline = time.monotonic() + chance.uniform(0, seconds)
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return _code(status, said)
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    else:
        count = chance.randint(1, CALLS[command[0]])
        _, status = os.waitpid(in_child(command, said, lambda: die_at(count, note)), 0)
    if not os.WIFSIGNALED(status):
        return _code(status, said)
    return note.read_text() if note.exists() else "at a random instant"


def from_another_host(folder: Path, chance: random.Random) -> int:
    """Make some of the heartbeats and claims that a kill left those of a dead host; return how many there are."""
    left = sorted(path for name in (HEARTBEAT, CLAIM) for path in folder.glob(f"*/{name}"))
    for path in left:
        signature = read_signature(path)
        if signature is None:
            raise SystemExit(f"{path} is torn")
        if chance.random() < 0.5:
            path.write_text(json.dumps(asdict(replace(signature, host="gpu7", boot="another kernel"))))
            os.utime(path, (time.time() - STALE - 5,) * 2)
    return len(left)


def run_undisturbed(command: list[str], said: Path) -> None:
    _, status = os.waitpid(in_child(command, said), 0)
    _code(status, said)


def _code(status: int, said: Path) -> None:
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"a command failed without a kill:\n{said.read_text()[-2000:]}")


def rows(run: Run, name: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "incomplete last line left out|.*incomplete last line left out")
        return run.log(name)


def losses(folder: Path, reference: Path, finished: dict[str, bytes], reached: dict[str, int]) -> list[str]:
    """Return what a kill destroyed: all files must be readable, and equal those of the undisturbed sweep."""
    found = []
    for run in list_runs(folder):
        undisturbed = Run(reference / run.id)
        manifest = (run.path / "manifest.json").read_bytes()
        if finished.get(run.id, manifest) != manifest:
            found.append(f"{run.id}: was finished, and trained again")
        if run.status == "finished":
            finished[run.id] = manifest
        for name in LOGS:
            log, whole = rows(run, name), rows(undisturbed, name)
            if not len(log):
                continue
            columns = [column for column in log if log[column].notna().any()]
            if not log[columns].equals(whole[columns].head(len(log)).astype(log[columns].dtypes)):
                found.append(f"{run.id}: {name} differs")
        steps, start = len(rows(run, "steps")), last_checkpoint(run.path / CHECKPOINTS) or 0
        if start < reached.get(run.id, 0):
            found.append(f"{run.id}: fell back from step {reached[run.id]} to {start}")
        if run.status != "finished" and steps - 1 - start > EVERY:
            found.append(f"{run.id}: {steps - 1 - start} finished steps lost")
        if run.status != "finished":
            # A kill between the checkpoints of two members: the pass goes on from the last one that all have.
            reached[run.id] = min(start, *(_checkpointed(folder / mate) for mate in run.manifest["cohort"]))
        else:
            reached.pop(run.id, None)
    return found


def _checkpointed(path: Path) -> int:
    """The last checkpoint of a run: infinite if it has finished, 0 if it has none or no folder."""
    if not path.exists():
        return 0
    finished = Run(path).status == "finished"
    return sys.maxsize if finished else last_checkpoint(path / CHECKPOINTS) or 0


def differences(folder: Path, reference: Path) -> list[str]:
    """Return the differences between a sweep that was killed repeatedly and the undisturbed one."""
    found = []
    if [run.id for run in list_runs(folder)] != [run.id for run in list_runs(reference)]:
        found.append("other runs than planned")
    for run in list_runs(folder):
        undisturbed = Run(reference / run.id)
        for name in LOGS:
            if not run.log(name).equals(undisturbed.log(name)):
                found.append(f"{run.id}: {name} differs at the end")
        ours, theirs = run.tensors(), undisturbed.tensors()
        if ours.keys() != theirs.keys() or any(not np.array_equal(ours[k], theirs[k]) for k in ours):
            found.append(f"{run.id}: prompts differ")
    return found


def pictures_lost(folder: Path, reference: Path) -> list[str]:
    """Return the pictures that are neither complete nor missing."""
    whole = {path.name: path.read_bytes() for path in reference.iterdir()}
    here = [path for path in folder.glob("*") if not path.name.startswith(".")]
    return [f"{path.name} is half-drawn" for path in here if path.read_bytes() != whole[path.name]]


def campaign(kills: int, seed: int, root: Path) -> Tally:
    """Kill sweeps and their plotting until there were `kills` kills, and complete the last sweep."""
    chance, tally = random.Random(seed), Tally()
    (root / "spec.toml").write_text(SPEC)

    def commands(name: str) -> tuple[Path, list[str], Path, list[str]]:
        runs, figures = root / name / "runs", root / name / "figures"
        sweep = ["sweep", str(root / "spec.toml"), "--cohort", "4", "--runs-dir", str(runs)]
        return runs, sweep, figures, ["plot", "--runs-dir", str(runs), "--output", str(figures)]

    reference, sweep, drawn, plot = commands("undisturbed")
    (root / "undisturbed").mkdir()
    took = {}
    for command in (sweep, plot):
        began = time.monotonic()
        run_undisturbed(command, root / "said")
        took[command[0]] = time.monotonic() - began
    while sum(tally.kills.values()) < kills:
        name = f"sweep{tally.recovered}"
        folder, sweep, figures, plot = commands(name)
        (root / name).mkdir()
        finished: dict[str, bytes] = {}
        reached: dict[str, int] = {}
        while where := killed(sweep, root / name, chance, took["sweep"]):
            tally.kills[where] += 1
            tally.losses += losses(folder, reference, finished, reached)
            tally.heartbeats += from_another_host(folder, chance)
        for _ in range(PLOTS):
            if where := killed(plot, root / name, chance, took["plot"]):
                tally.kills[f"{where}, plotting"] += 1
                tally.losses += pictures_lost(figures, drawn)
        run_undisturbed(plot, root / "said")
        tally.losses += differences(folder, reference) + pictures_lost(figures, drawn)
        # A kill between the last write of a run and the removal of its heartbeat leaves it, which means nothing.
        left = [str(path.relative_to(root)) for each in (".*", CLAIM) for path in (root / name).rglob(each)]
        tally.losses += [f"{path} was left behind" for path in left]
        tally.recovered += 1
        shutil.rmtree(root / name)
    return tally


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    torch.set_num_threads(1)  # a fork would break a thread pool
    with tempfile.TemporaryDirectory() as root:
        tally = campaign(arguments.kills, arguments.seed, Path(root))
    for where, count in sorted(tally.kills.items()):
        print(f"  {count:4d}  {where}")
    print("\n".join(tally.losses))
    print(f"{tally.heartbeats} heartbeats left by kills were taken over")
    print(f"{tally.kills.total()} kills, {tally.recovered} sweeps recovered, {len(tally.losses)} losses")
    sys.exit(bool(tally.losses))


if __name__ == "__main__":
    main()
