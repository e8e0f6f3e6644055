"""eval, predict, neighbors and export, end to end."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    configs = [quick(model="tiny", steps=20, method="vanilla", seed=seed) for seed in (1, 2, 3)]
    return folder, rp.train_cohort(configs, runs_dir=folder / "runs")


@pytest.fixture
def here(trained, monkeypatch):
    folder, runs = trained
    monkeypatch.chdir(folder)
    return [run.id for run in runs]


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1
    return message


def test_eval_prints_each_run_and_the_vote(here, capsys):
    run("eval", *here, "--ensemble")
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + 2 * 4  # a header; two metrics for each of three runs and their vote
    assert [line.split()[0] for line in table[1::2][:3]] == here
    assert "ensemble of 3" in table[-1]
    assert "41.1" in table[1]  # the baseline


def test_eval_on_another_task(here, capsys):
    run("eval", here[0], "--task", "rte", "--data", "bundled-500", "--scoring", "rank")
    table = capsys.readouterr().out
    assert " miniature RTE " in table
    assert " 500 " in table


def test_predict_answers_line_by_line(here, capsys, monkeypatch):
    lines = (
        'premise: Nora left. hypothesis: Nora left\n{"premise": "Nora left.", "hypothesis": "Nora left"}\n'
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    run("predict", here[0])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first in {"0", "1", "2"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"premise": "Nora left."}', "error: line 2: no field 'hypothesis'; CB rows need"),
        ('{"premise": 3, "hypothesis": "x"}', "error: line 2: field 'premise' is 3; expected text"),
        ("\udcff", "error: line 2 is neither UTF-8 text nor a row in JSON"),
        ('{"premise"', "error: line 2 is neither UTF-8 text nor a row in JSON"),
        ("", "error: line 2 is empty; expected a text, or a row of the task in JSON"),
    ],
)
def test_bad_lines(here, capsys, monkeypatch, line, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"a text\n{line}\n"))
    assert refused(capsys, "predict", here[0]).startswith(message)


def test_empty_input(here, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "standard input is empty; expected one text per line" in refused(capsys, "predict", here[0])


def test_neighbors(here, capsys):
    run("neighbors", here[0], "--count", "2", "--metric", "euclidean")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert [line.split()[0] for line in lines] == [str(i) for i in range(8)]


def test_export_and_start_from_it(here, capsys):
    run("export", here[0], "out/adapter")
    run("export", here[0], "out/p.npy", "--to", "npy")
    assert capsys.readouterr().out.split() == ["out/adapter", "out/p.npy"]
    np.testing.assert_array_equal(np.load("out/p.npy"), rp.find_run(here[0]).prompt())
    for name in ("q.npy", "q.safetensors"):
        run("export", here[0], f"out/{name}")
        (written,) = rp.read_prompts(f"out/{name}").values()
        np.testing.assert_array_equal(written, rp.find_run(here[0]).prompt())
        assert Path("out", name).is_file()
    run("train", "--method", "vanilla", "--init", "saved", "--init-from", "out/adapter", "--prompt-length", "8",
        "--steps", "1", "--name", "again")  # fmt: skip
    np.testing.assert_array_equal(rp.find_run("again").prompt("P0"), rp.find_run(here[0]).prompt())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("eval nothing", "error: unknown run 'nothing'"),
        ("eval RUN --split test", "error: split is 'test'; expected validation or train"),
        ("eval RUN --which P0", "error: which is 'P0'; expected final or best"),
        ("eval RUN --task cbb", "error: unknown task 'cbb'; did you mean 'cb'?"),
        ("eval RUN --scoring rankk", "error: scoring is 'rankk'; expected 'greedy', 'rank' or 'both'"),
        ("neighbors RUN --metric dot", "error: metric is 'dot'; expected cosine or euclidean"),
        ("neighbors RUN --count 9999", "error: 9999 nearest of"),
        ("export RUN out.x --to pefd", "error: unknown format 'pefd'; did you mean 'peft'?"),
        ("train --method vanilla --init saved --init-from none --steps 1", "error: no prompt at 'none'; expected a run"),
        ("train --method vanilla --init saved --init-from runs/RUN --steps 1", "' is 8 x 128, and P is 100 x 128"),
    ],
)  # fmt: skip
def test_bad_input(here, capsys, command, message):
    assert message in refused(capsys, *command.replace("RUN", here[0]).split())
