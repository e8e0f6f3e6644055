"""Terminals show names as they are: markup, emoji codes and control characters in a name have no effect."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from rankprobe import cli
from rankprobe.cli.lines import print_line
from rankprobe.cli.show import runs_table, task_summary
from rankprobe.cli.sweep_progress import SweepProgress
from rankprobe.config.run import RunConfig
from rankprobe.data.description import describe_task
from rankprobe.errors import RankprobeError

NAME = "[bold]a[/] :cat: [/x]\x1b[31m\rb\n"
SHOWN = "[bold]a[/] :cat: [/x]\\x1b[31m\\rb\\n"


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=300)


def test_a_line():
    console = terminal()
    print_line(console, NAME)
    assert console.file.getvalue() == f"{SHOWN}\n"


def test_the_table_of_runs():
    row = {"run_id": NAME, "status": "finished", "data_label": NAME, "model_label": NAME, "step": 1}
    text = runs_table(pd.DataFrame([row | {"total_steps": 1, "best": 1.0, "last": 1.0, "baseline": 1.0}]))
    assert text.count(SHOWN) == 3
    assert len(text.splitlines()) == 2


def test_the_progress_table_of_a_sweep(tmp_path):
    console, config = terminal(), RunConfig()
    console.print(SweepProgress(console, {NAME: [config]}, [[config]], tmp_path).table())
    assert SHOWN in console.file.getvalue()


def test_errors_and_warnings(capsys):
    assert cli._print_error(str(RankprobeError(f"no run {NAME}")), 2) == 2
    cli._print_warning(UserWarning(NAME), UserWarning, "file", 1)
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert f"UserWarning: {SHOWN}\n" in printed


def test_a_task_and_its_labels(tmp_path):
    (tmp_path / "t.toml").write_text(
        'template = "{a}"\ntarget = "l"\ntrain = "t.jsonl"\nvalidation = "t.jsonl"\n'
        '[labels]\nx = "[red]yes[/]\\u001b[1m"\ny = ":cat:"\n'
    )
    rows = ['{"a": "one \\u001b[1m [i]two[/i]", "l": "x"}', '{"a": "two", "l": "y"}'] * 2
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    console = terminal()
    task_summary(console, describe_task(str(tmp_path / "t.toml"), "bundled", "words"))
    printed = console.file.getvalue()
    assert "\x1b" not in printed
    for name in ("[red]yes[/]\\x1b[1m", ":cat:", "one \\x1b[1m [i]two[/i]"):
        assert name in printed
