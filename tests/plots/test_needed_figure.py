"""The figure of the needed rank contains the values of the outcome."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_plots import frames

from rankprobe.cli.task_rank import outcome_lines
from rankprobe.errors import RankprobeError
from rankprobe.plots import taskrank
from rankprobe.runs import Run
from rankprobe.runs.task_rank import TaskRankFile, read_task_rank, save_task_rank


def outcome(**changes) -> TaskRankFile:
    """Rank 2 is certified, rank 1 is not; scores rise with k and with the seed."""
    tries = [
        {
            "k": k,
            "kind": kind,
            "seed": seed,
            "learning_rate": rate,
            "start": None,
            "run_id": f"{kind}{k}{seed}",
        }
        | {
            "selection": 80.0 + k + rate,
            "report": base + 10 * k + seed + rate,
            "reached": k == 2,
            "chosen": False,
        }
        for k in (1, 2)
        for kind, base in (("cut", 50.0), ("healed", 60.0), ("scratch", 55.0))
        for seed in (1, 3)
        for rate in (0.0, 1.0)
    ]
    decisions = [
        {
            "k": k,
            "chosen_rank": k,
            "score": 80.0 + k,
            "margin": k - 1.4,
            "lower": k - 1.5,
            "certified": k == 2,
            "tries": 6,
        }
        | {"reached": 0 if k == 1 else 6, "rate_low": 0.0, "rate_high": 0.46}
        for k in (1, 2)
    ]
    functional = [
        {"seed": s, "run_id": f"run{i}", "functional_rank": 4.0 + s, "low": 3.0, "high": 9.0}
        for i, s in enumerate((1, 3))
    ]
    values = {"model": "tiny", "data": "miniature CB", "metric": "accuracy", "seeds": [1, 3], "n_rows": 250}
    values |= {
        "n_questions": 250,
        "max_k": 20,
        "share": 0.95,
        "confidence": 0.95,
        "baseline": 50.0,
        "vanilla": 90.0,
    }
    values |= {"gain": 40.0, "gain_lower": 35.0, "needed_rank": 2, "functional": functional}
    return TaskRankFile.parse({**values, "decisions": decisions, "tries": tries, **changes})


@pytest.fixture
def drawn(tmp_path):
    plain = frames({"seed": 1}, {"seed": 3})
    paths = [tmp_path / name for name in ("run0", "run1")]
    for path in paths:
        path.mkdir()
    save_task_rank(Run(paths[0]), outcome())
    return dataclasses.replace(plain, runs=plain.runs.assign(path=list(map(str, paths))))


def lines(figure) -> dict[str, tuple[list[float], list[float]]]:
    (axes,) = figure.axes
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in axes.get_lines()
    }


def test_a_panel_has_the_curves_the_level_and_the_ranks(drawn):
    figure = taskrank(drawn)
    found = lines(figure)
    # The try with the higher selection score has the higher report score; means of seeds 1 and 3.
    assert found["vanilla, cut to k"] == ([1, 2], [63, 73])
    assert found["cut and healed"] == ([1, 2], [73, 83])
    assert found["DPT(k) from scratch"] == ([1, 2], [68, 78])
    assert found["95% of vanilla's gain"][1] == [88, 88]
    assert found["baseline"][1] == [50, 50]
    assert found["needed rank, upper bound"][0] == [2, 2]
    assert found["functional rank"][0] == [6]
    assert "needed rank at most 2, certified on 250 rows, 2 seeds" in figure.axes[0].get_title().replace(
        "\n", " "
    )
    assert {"run0", "run1", "healed11", "scratch23"} <= set(figure.get_label().split("\n"))


def test_the_truncation_curves_of_the_vanilla_runs_are_the_curve_of_cut_prompts(drawn):
    rows = [
        {"run_id": run_id, "matrix": matrix, "kept": "top", "k": k, "metric": "accuracy", "split": split}
        | {"value": value + k}
        for run_id, value in (("run0", 50.0), ("run1", 60.0), ("other", 0.0))
        for matrix in ("P", "dP")
        for split in ("report", "selection")
        for k in (0, 1, 8)
    ]
    rows = [row | {"prompt": "final"} for row in rows] + [
        row | {"value": 0.0, "prompt": "best"} for row in rows
    ]
    found = lines(taskrank(dataclasses.replace(drawn, truncation=pd.DataFrame(rows))))
    assert found["vanilla, cut to k"] == ([1, 8], [56, 63])
    assert found["functional rank"] == ([6], [55 + 6])


def test_without_an_outcome_the_error_names_the_command():
    with pytest.raises(RankprobeError, match="find one first: rankprobe taskrank --task TASK"):
        taskrank(frames({}))


def test_a_damaged_outcome_is_named(drawn):
    run = Run(Path(drawn.runs["path"].iloc[0]))
    assert read_task_rank(run) == outcome()
    (run.path / "taskrank.json").write_text('{"model": 3}')
    with pytest.raises(RankprobeError, match=r"taskrank\.json: .*; run rankprobe taskrank again"):
        taskrank(drawn)


def test_the_outcome_in_words():
    told = outcome_lines(outcome())
    assert "needed rank: at most 2 (certified on 250 rows, 2 seeds)" in told
    assert told[2].startswith(
        "k = 1: not found in 6 tries; chosen 81.0, margin -0.4 (-0.5); 0 of 6 tries reached"
    )
    assert told[3].startswith("k = 2: certified; chosen 82.0")
    assert told[-1] == "functional rank of the vanilla prompts (95 % interval): 5 (3–9), 7 (3–9)"
    assert all(len(line) <= 120 for line in told)
    smaller = [{**row.model_dump(), "chosen_rank": 1} for row in outcome().decisions]
    assert outcome_lines(outcome(decisions=smaller))[3].startswith("k = 2: certified; chosen of rank 1 82.0")
    one = outcome_lines(outcome(seeds=[1], n_questions=50))
    assert "needed rank: at most 2 (certified on 250 rows of 50 questions, 1 seed)" in one
    assert "the bound is over rows, for these vanilla prompts; it says nothing about other seeds" in one
