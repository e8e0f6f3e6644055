"""The command taskrank passes on what it is given, and says what the study found."""

from __future__ import annotations

import re

import pytest
from conftest import quick
from test_json import OUTCOME
from test_use import run

import rankprobe as rp
from rankprobe.runs.task_rank import DecisionRow, TaskRankFile
from rankprobe.studies import task_rank as room


@pytest.fixture
def asked(monkeypatch):
    """What the study was asked for; it reports one decision."""
    asked = {}

    def stub(run, *, report, **given):
        asked.update(given, run=run)
        report(DecisionRow.parse(OUTCOME["decisions"][0]))
        return TaskRankFile.parse(OUTCOME)

    monkeypatch.setattr(room, "taskrank", stub)
    return asked


def test_settings_reach_the_study(asked, capsys):
    flags = "--task cb --steps 3 --seed 4 --seed 6 --restarts 2 --rates 0.1,0.5 --share 0.8 --runs-dir kept"
    run("taskrank", *flags.split())
    assert (asked["run"], asked["task"], asked["steps"], asked["seeds"]) == (None, "cb", 3, [4, 6])
    assert (asked["restarts"], asked["rates"], asked["share"]) == (2, [0.1, 0.5], 0.8)
    assert str(asked["runs_dir"]) == "kept"
    assert "method" not in asked
    assert len(asked["hooks"]) == 1
    told = capsys.readouterr().out
    assert len(re.findall(r"^k = 2: certified; chosen 90.0, margin \+2.0 \(\+0.5\)", told, re.MULTILINE)) == 2
    assert "needed rank: at most 2 (certified on 28 rows, 1 seed)" in told


def test_a_run_reaches_the_study(asked, tmp_path):
    rp.train(quick(), runs_dir=tmp_path, name="one")
    run("taskrank", "one", "--runs-dir", str(tmp_path))
    assert asked["run"].id == "one"
    assert asked["seeds"] is None
    assert (asked["restarts"], asked["rates"], asked["share"]) == (5, [0.03, 0.1, 0.3], 0.95)
