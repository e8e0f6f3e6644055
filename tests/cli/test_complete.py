"""The shell completes what users name: runs, tasks, methods, figures, tables, choices. And --quiet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.cli.lines import QUIET
from rankprobe.plots import ALIASES, FIGURES
from rankprobe.prompts import METHODS
from rankprobe.tasks import TASKS

QUICK = ["--prompt-length", "4", "--steps", "2", "--batch-size", "8", "--model", "random:tiny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    for place, name in (("runs", "one"), ("runs", "other"), ("elsewhere", "third")):
        rp.train(quick(steps=1), runs_dir=here / place, name=name)
    (here / "runs" / "plans").mkdir()
    return here


def completed(line: str, monkeypatch, capsys) -> list[str]:
    """What bash is offered for the last word of `line`."""
    words = line.split(" ")
    monkeypatch.setenv("_RANKPROBE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit) as stop:
        main([])
    assert not stop.value.code
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rankprobe resu", ["resume"]),
        ("rankprobe resume o", ["one", "other"]),
        ("rankprobe eval one oth", ["other"]),
        ("rankprobe eval --runs-dir elsewhere ", ["third"]),
        ("rankprobe eval --runs-dir nowhere ", []),
        ("rankprobe analyze on", ["one"]),
        ("rankprobe report t", []),
        ("rankprobe taskrank one", ["one"]),
        ("rankprobe track on", ["one"]),
        ("rankprobe track one --to w", ["wandb"]),
        ("rankprobe probe --report-to mlflow,t", ["mlflow,tensorboard", "mlflow,trackio"]),
        ("rankprobe plot fig3 --run oth", ["other"]),
        ("rankprobe tasks show r", ["record", "rte"]),
        ("rankprobe data fetch --task w", ["wic", "wsc"]),
        ("rankprobe eval one --task ", sorted(TASKS)),
        ("rankprobe probe --task mu", ["multirc"]),
        ("rankprobe train --method ", sorted(METHODS)),
        ("rankprobe plot ", sorted([*FIGURES, *ALIASES])),
        ("rankprobe table u", ["used"]),
        ("rankprobe probe --gate s", ["softplus", "straight-through"]),
        ("rankprobe train --dtype ", ["bfloat16", "float32", "float64"]),
        ("rankprobe train --config own", []),  # no words of ours: the shell completes file names
    ],
)
def test_words_are_completed(folder, monkeypatch, capsys, line, expected):
    monkeypatch.chdir(folder)
    assert completed(line, monkeypatch, capsys) == expected


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_what_install_completion_installs_works_in_bash(folder, tmp_path):
    """Completion is installed into a home of its own, and bash calls it as for a user who presses Tab."""
    program = tmp_path / "bin" / "rankprobe"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rankprobe "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
    source = os.pathsep.join(
        entry for entry in (str(Path(rp.__file__).parent.parent), os.environ.get("PYTHONPATH")) if entry
    )
    env = {**os.environ, "HOME": str(tmp_path), "PATH": path, "PYTHONPATH": source}

    def bash(script: str) -> str:
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "bash completion installed in" in bash("rankprobe --install-completion; true")
    (script,) = (tmp_path / ".bash_completions").iterdir()
    press_tab = (
        "COMP_WORDS=(rankprobe resume o); COMP_CWORD=2; _rankprobe_completion rankprobe; echo ${COMPREPLY[*]}"
    )
    assert bash(f"source {script}; {press_tab}").split() == ["one", "other"]


def printed(words: list[str], capsys) -> tuple[str, str]:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    out, err = capsys.readouterr()
    return out, err


@pytest.mark.parametrize("place", [0, 1, 99])
def test_quiet_shows_results_and_no_progress(tmp_path, monkeypatch, capsys, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    words = ["probe", *QUICK, "--name", "one"]
    loud, _ = printed(words, capsys)
    shutil.rmtree("runs")
    words.insert(place, "--quiet")
    out, err = printed(words, capsys)
    assert os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS") == "1"
    assert err == ""
    assert "training on cpu" in loud
    assert "one  step 2/2  loss" in loud
    assert loud.endswith(out)
    assert out.startswith("\none  finished after 2 steps")
    assert "step 2/2" not in out
    printed(["runs"], capsys)
    assert not QUIET.get()


def test_quiet_keeps_warnings_and_errors_and_the_outcome_of_a_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    settings = "\n".join(["steps = 1", "prompt_length = 4", 'model = "random:tiny"'])
    Path("own.toml").write_text(f'title = "x"\ndraws = ["fig3"]\n[settings]\n{settings}\n')
    out, _ = printed(["sweep", "own.toml", "--quiet"], capsys)
    assert out == "1 of 1 runs finished; draw them with: rankprobe plot --runs-dir runs\n"
    with pytest.raises(SystemExit) as stop:
        main(["eval", "gone", "--quiet"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: unknown run 'gone'")
