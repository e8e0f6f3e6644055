"""Run by test_other_systems: what rankprobe does on a system that is not POSIX. Prints one JSON object.

python other_system.py FOLDER read|write

Hides the modules and names that Windows lacks, as far as rankprobe itself is concerned: a package that has them in
its own code would look for them in another way there. A file that rankprobe reads or writes without naming an
encoding is an error, because Windows would take its own.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import os
import signal
import sys
import warnings
from pathlib import Path

POSIX_MODULES = {"fcntl", "resource", "termios", "pwd", "grp"}
POSIX_SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
POSIX_NAMES = {"uname", "fork", "getuid", "geteuid", "sched_getaffinity", "statvfs", "killpg", "getpgid", "setsid", "sync",
               "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "O_CLOEXEC", "mkfifo", "fchmod", "ttyname"}  # fmt: skip


def hide() -> None:
    real = builtins.__import__

    def importing(name, globals=None, locals=None, fromlist=(), level=0):
        if name in POSIX_MODULES and (globals or {}).get("__name__", "").startswith("rankprobe"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, globals, locals, fromlist, level)

    builtins.__import__ = importing
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name in POSIX_MODULES else find_spec(name, *rest)
    for name in POSIX_SIGNALS:
        delattr(signal, name)
    warnings.filterwarnings("ignore", category=EncodingWarning)  # of other packages
    warnings.filterwarnings("error", category=EncodingWarning, module="rankprobe")


def posix_names_used(package: Path) -> list[str]:
    """The names in the code of rankprobe that Windows lacks: `os.NAME` that no `hasattr` or lock guards."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "os"
                and node.attr in POSIX_NAMES
            ):
                found.append(f"{path.relative_to(package)}: os.{node.attr}")
    return sorted(found)


def command(*words: str) -> None:
    from rankprobe.cli import main

    try:
        main(words)
    except SystemExit as ended:
        if ended.code:
            raise


def read(folder: Path) -> dict:
    """All that reads a run folder, and the pictures, pages and tables it writes."""
    import numpy as np

    import rankprobe as rp

    runs = str(folder / "runs")
    frames = rp.load_runs(runs)
    np.save(folder / "P.npy", np.random.default_rng(0).standard_normal((8, 16)))
    command("runs", "--runs-dir", runs)
    command("plot", "--runs-dir", runs, "--output", str(folder / "figures"))
    command("report", "--runs-dir", runs, "--output", str(folder / "report.html"))
    command(
        "table",
        "table1",
        "--where",
        "steps=300",
        "--where",
        "seed=3",
        "--runs-dir",
        runs,
        "--output",
        str(folder / "table.csv"),
    )
    command("analyze", str(folder / "P.npy"), "--output", str(folder / "readings.csv"))
    return {
        "n_rows": len(frames.steps),
        "torch": "torch" in sys.modules,
        "written": sorted(path.name for path in folder.iterdir() if path.name != "runs"),
    }


def write(folder: Path) -> dict:
    """Train, interrupt and resume, start over: the heartbeats alone keep a second writer out."""
    import rankprobe as rp
    from rankprobe.runs.heartbeat import HEARTBEAT
    from rankprobe.runs.lock import is_being_written

    settings = {"model": "random:tiny", "prompt_length": 4, "steps": 4, "batch_size": 4, "eval_every": 2}
    refused = []

    def intrude(record) -> None:
        assert is_being_written(folder / "runs" / "one")
        for if_exists in ("resume", "overwrite"):
            try:
                rp.probe(runs_dir=folder / "runs", name="one", if_exists=if_exists, **settings)
            except rp.RankprobeError as error:
                refused.append(str(error))

    def stop(record) -> None:
        intrude(record)
        if record.step == 2:
            signal.raise_signal(signal.SIGTERM)

    stopped = None
    try:
        rp.probe(runs_dir=folder / "runs", name="one", hooks=[stop], **settings)
    except rp.RunInterrupted as error:
        stopped = str(error)
    resumed = rp.probe(runs_dir=folder / "runs", name="one", if_exists="resume", hooks=[intrude], **settings)
    status = resumed.status
    again = rp.probe(runs_dir=folder / "runs", name="one", if_exists="overwrite", **settings)
    left = [path.name for path in folder.rglob("*") if path.name.startswith(".") or path.name == HEARTBEAT]
    return {
        "stopped": stopped,
        "status": [status, again.status],
        "refused": sorted(set(refused)),
        "left": left,
        "pid": os.getpid(),
    }


if __name__ == "__main__":
    hide()
    out = sys.stdout
    sys.stdout = sys.stderr
    found = {"read": read, "write": write}[sys.argv[2]](Path(sys.argv[1]))
    out.write(json.dumps(found))
