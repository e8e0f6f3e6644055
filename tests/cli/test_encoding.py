"""Terminals and locales that are not UTF-8: every command works, and characters they cannot show become ?."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from conftest import quick
from rich.console import Console

import rankprobe as rp
from rankprobe.cli import _replace_unprintable, main
from rankprobe.cli.progress import RunProgress

C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("läufe")
    rp.train(quick(steps=2, method="probe"), runs_dir=folder, name="σ-run")
    return folder


class Terminal(io.TextIOWrapper):
    """A standard output with another encoding."""

    def __init__(self, encoding, errors="strict"):
        super().__init__(io.BytesIO(), encoding=encoding, errors=errors)

    @property
    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding, "replace")


COMMANDS = [
    ["--help"],
    ["probe", "--help"],
    ["methods"],
    ["tasks"],
    ["tasks", "show", "cb"],
    ["env"],
    ["runs"],
    ["analyze", "σ-run"],
    ["table", "table2"],
    ["report", "σ-run"],
    ["neighbors", "σ-run"],
    ["eval", "σ-run"],
    [
        "probe",
        *"--model random:tiny --steps 2 --prompt-length 4 --batch-size 8 --overwrite --name Δ-run".split(),
    ],
]


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_every_command_prints_what_the_terminal_can_show(command, encoding, runs_dir, monkeypatch):
    out, error = Terminal(encoding), Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.chdir(runs_dir.parent)
    (runs_dir.parent / "runs").unlink(missing_ok=True)
    (runs_dir.parent / "runs").symlink_to(runs_dir)
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert not stop.value.code, error.text
    assert out.text
    assert error.text == ""
    if command[0] == "probe" and "--name" in command:
        assert "?-run  step 2/2  loss" in out.text
        assert "?>0 4 (twin" in out.text


def test_errors_are_printed_too(monkeypatch, runs_dir):
    error = Terminal("ascii")
    monkeypatch.setattr(sys, "stderr", error)
    with pytest.raises(SystemExit) as stop:
        main(["analyze", "σ", "--runs-dir", str(runs_dir)])
    assert stop.value.code == 2
    assert error.text.startswith("error: no prompt '?'")


@pytest.mark.parametrize(
    ("encoding", "errors", "then"),
    [
        ("ascii", "strict", "replace"),
        ("ascii", "surrogateescape", "replace"),
        ("utf-8", "strict", "replace"),
        ("utf-8", "surrogateescape", "surrogateescape"),
        ("ascii", "xmlcharrefreplace", "xmlcharrefreplace"),
        ("ascii", "backslashreplace", "backslashreplace"),
    ],
)
def test_the_error_handler_of_the_user_is_kept(encoding, errors, then, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal(encoding, errors))
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # as in a notebook
    _replace_unprintable()
    assert sys.stdout.errors == then


def test_the_c_locale():
    done = subprocess.run(
        [sys.executable, "-m", "rankprobe", "probe", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **C_LOCALE},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--prompt-length" in done.stdout


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_uses_the_encoding_of_its_console(tmp_path, terminal):
    out = Terminal("ascii")
    console = Console(file=out, force_terminal=terminal, width=120)
    with RunProgress(console, several=True) as progress:
        rp.train(quick(steps=2, method="probe"), runs_dir=tmp_path, name="Läufe", hooks=[progress])
    assert "L?ufe" in out.text
    assert "?>0" in out.text


class Closed(io.StringIO):
    """A terminal that is closed during a run."""

    def write(self, text):
        raise OSError(5, "Input/output error")


def test_a_closed_terminal_does_not_end_a_run(tmp_path):
    with RunProgress(Console(file=Closed()), several=False) as progress:
        run = rp.train(quick(steps=2), runs_dir=tmp_path, name="run", hooks=[progress])
    assert run.status == "finished"
