"""Faults of real file systems: a full disk, a read-only disk, no permission, a removed folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import QUICK, assert_equal_runs, quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.runs import list_runs, load_runs, provenance
from rankprobe.training import checkpoints
from rankprobe.training.run_state import RunState

SETTINGS = {**QUICK, "steps": 12, "checkpoint_every": 3, "seed": 1}
COMMAND = ["probe", "--name", "run", *(f"--{k.replace('_', '-')}={v}" for k, v in SETTINGS.items())]
NOBODY = 65534


def run_command(command: list[str], capsys) -> tuple[int, list[str]]:
    """Run a rankprobe command; return its exit code and the lines on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines), lines
    return int(stop.value.code or 0), lines


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return rp.train(quick(**SETTINGS, method="probe"), runs_dir=tmp_path_factory.mktemp("runs"), name="run")


@pytest.fixture
def disk(tmp_path):
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill_up(disk: Path, leaving: int) -> Path:
    """Fill a disk up to `leaving` free bytes."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(max(0, free - leaving)))
    return ballast


def assert_whole(runs_dir: Path) -> None:
    """Check that all runs are readable and no file is half-written."""
    if runs_dir.is_dir() and list_runs(runs_dir):
        load_runs(runs_dir)
    assert not [path for path in runs_dir.rglob("*.partial") if not path.name.startswith(".step-")]


@pytest.mark.parametrize("kilobytes", [0, 4, 8, 12, 16, 24, 40, 64, 80, 96, 112, 128])
def test_a_disk_that_fills_up_loses_nothing(disk, capsys, undisturbed, kilobytes):
    ballast = fill_up(disk, kilobytes * 1024)
    code, lines = run_command([*COMMAND, "--runs-dir", str(disk / "runs")], capsys)
    assert code == 1
    assert 1 <= len(lines) <= 2, lines
    assert "No space left on device" in lines[0]
    ballast.unlink()
    assert_whole(disk / "runs")
    code, lines = run_command([*COMMAND, "--runs-dir", str(disk / "runs"), "--resume"], capsys)
    assert code == 0, lines
    assert_equal_runs(rp.find_run("run", disk / "runs"), undisturbed)


@pytest.mark.parametrize("name", ["plot", "table", "export", "report"])
def test_a_full_disk_leaves_no_partial_result(disk, capsys, undisturbed, name):
    output, runs_dir = disk / "out", str(undisturbed.path.parent)
    command = {
        "plot": ["plot", "fig3", "--output", str(output), "--runs-dir", runs_dir],
        "table": ["table", "table2", "--output", str(output / "t.md"), "--runs-dir", runs_dir],
        "report": ["report", "run", "--output", str(output / "r.html"), "--runs-dir", runs_dir],
        "export": ["export", "run", str(output / "p.npy"), "--to", "npy", "--runs-dir", runs_dir],
    }[name]
    output.mkdir()
    ballast = fill_up(disk, 0)
    code, lines = run_command(command, capsys)
    assert code in (1, 2)
    assert len(lines) == 1, lines
    assert list(output.iterdir()) == []
    ballast.unlink()
    assert run_command(command, capsys)[0] == 0
    assert list(output.iterdir())


def test_a_disk_that_becomes_read_only_during_training_loses_nothing(disk, capsys, undisturbed, monkeypatch):
    save, calls = checkpoints.save_checkpoint, []

    def turning(*given):
        calls.append(given)
        if len(calls) == 3:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        save(*given)

    monkeypatch.setattr(checkpoints, "save_checkpoint", turning)
    command = [*COMMAND, "--runs-dir", str(disk / "runs")]
    # A disk with files open for writing cannot become read-only.
    monkeypatch.setattr("rankprobe.training.recorder.AppendLog", ClosedLog)
    code, lines = run_command(command, capsys)
    assert (code, len(lines)) == (1, 1), lines
    assert "Read-only file system" in lines[0]
    assert "fix that, then: rankprobe resume " in lines[0]
    monkeypatch.undo()
    code, lines = run_command([*command, "--resume"], capsys)
    assert (code, len(lines)) == (1, 1), lines
    assert "Read-only file system" in lines[0]
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert run_command([*command, "--resume"], capsys)[0] == 0
    assert_equal_runs(rp.find_run("run", disk / "runs"), undisturbed)


class ClosedLog(rp.runs.logs.AppendLog):
    """A log that is closed after each write."""

    def write(self, rows):
        super().write(rows)
        self.close()


@contextmanager
def nobody():
    """Become a user without permissions, because root has all permissions."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def others(tmp_path):
    """A folder of another user, inside a readable folder."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o555)
    folder = tmp_path / "others"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


def test_a_folder_without_write_permission_is_named_before_any_work(others, capsys, monkeypatch):
    monkeypatch.setattr("rankprobe.training.api.train_members", lambda *_: pytest.fail("it was trained"))
    with nobody():
        code, lines = run_command([*COMMAND, "--runs-dir", str(others / "runs")], capsys)
    assert (code, len(lines)) == (1, 1), lines
    assert "Permission denied" in lines[0]
    assert str(others) in lines[0]


def test_a_run_without_read_permission_is_named(others, capsys, undisturbed):
    others.chmod(0o755)
    shutil.copytree(undisturbed.path, others / "run")
    (others / "run" / "manifest.json").chmod(0)
    with nobody():
        code, lines = run_command(["analyze", "run", "--runs-dir", str(others)], capsys)
    assert (code, len(lines)) == (2, 1), lines
    assert "manifest.json cannot be read" in lines[0]


@pytest.mark.parametrize("step", [0, 4, 12])
def test_a_removed_run_folder_ends_the_run_with_one_line(tmp_path, capsys, monkeypatch, step):
    update, runs_dir = RunState.update, tmp_path / "runs"

    def removing(self, at):
        if at == max(step, 1):
            shutil.rmtree(runs_dir / "run")
        return update(self, at)

    monkeypatch.setattr(RunState, "update", removing)
    code, lines = run_command([*COMMAND, "--runs-dir", str(runs_dir)], capsys)
    assert (code, len(lines)) == (1, 1), lines
    assert "runs/run was removed while it was written; train it again" in lines[0]
    assert not list(runs_dir.iterdir())


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, capsys, undisturbed, monkeypatch):
    days = iter(range(30, 0, -1))

    def earlier() -> str:
        return f"2026-01-{next(days):02}T00:00:00+00:00"

    monkeypatch.setattr(provenance, "now", earlier)
    monkeypatch.setattr(checkpoints, "now", earlier)
    assert run_command([*COMMAND, "--runs-dir", str(tmp_path)], capsys) == (0, [])
    run = rp.find_run("run", tmp_path)
    assert run.manifest["updated"] < run.manifest["started"]
    assert_equal_runs(run, undisturbed)
    assert run_command(["runs", "--runs-dir", str(tmp_path)], capsys)[0] == 0


def test_every_command_accepts_paths_with_spaces_and_unicode(tmp_path, capsys, undisturbed, monkeypatch):
    home = tmp_path / "Läufe und mehr" / "試験 'x' \"y\" $HOME"
    home.mkdir(parents=True)
    runs_dir, out = home / "rü ns", home / "bild\ner"
    where = ["--runs-dir", str(runs_dir)]
    monkeypatch.setattr(checkpoints, "save_checkpoint", _interrupting(checkpoints.save_checkpoint, 3))
    with pytest.raises(SystemExit):
        main([*COMMAND, *where])
    monkeypatch.undo()
    spec = home / "spéc.toml"
    spec.write_text(
        'title = "ü"\ndraws = ["fig3"]\n[settings]\nmodel = "random:tiny"\nsteps = 2\nprompt_length = 4\n'
    )
    for command in (
        ["resume", "run"],
        ["runs"],
        ["plot", "fig3", "--output", str(out)],
        ["table", "table2", "--output", str(out / "tä.md")],
        ["analyze", "run"],
        ["report", "run", "--output", str(out / "bericht ü.html")],
        ["truncate", "run", "--k", "2"],
        ["neighbors", "run"],
        ["eval", "run"],
        ["export", "run", str(out / "p ü.npy"), "--to", "npy"],
        ["export", "run", str(out / "adäpter")],
        ["sweep", str(spec)],
    ):
        code, lines = run_command([*command, *where], capsys)
        assert code == 0, (command, lines)
    assert_equal_runs(rp.find_run("run", runs_dir), undisturbed)
    assert rp.read_prompts(out / "p ü.npy")
    assert rp.read_prompts(out / "adäpter")


def _interrupting(save, count):
    calls = []

    def stopping(*given):
        calls.append(given)
        if len(calls) == count:
            raise KeyboardInterrupt
        save(*given)

    return stopping
