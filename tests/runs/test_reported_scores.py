"""Reported scores: a run with a held-back half of dev is reported on that half."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from conftest import quick
from rich.console import Console

import rankprobe as rp
from rankprobe.cli.progress import RunProgress
from rankprobe.cli.show import runs_table, summary
from rankprobe.errors import RankprobeError
from rankprobe.runs import list_frame, reported, reported_baseline, scored_data_labels

RUNS = pd.DataFrame(
    {
        "report_split": ["all", "half", "half"],
        "data_label": "CB",
        "last": [10.0, 20.0, 30.0],
        "best": [11.0, 21.0, 31.0],
        "baseline": [1.0, 2.0, 3.0],
        "report_last": [None, 40.0, None],
        "report_best": [None, 41.0, None],
        "report_baseline": [None, 4.0, None],
    }
)


def test_a_half_is_reported_by_the_rows_that_chose_nothing_or_not_at_all():
    assert reported(RUNS, "last").fillna(-1).tolist() == [10, 40, -1]
    assert reported(RUNS, "best").fillna(-1).tolist() == [11, 41, -1]
    assert reported_baseline(RUNS).fillna(-1).tolist() == [1, 4, -1]
    assert scored_data_labels(RUNS).tolist() == ["CB", *["CB, held-back half of dev"] * 2]


def test_older_frames_are_of_all_dev_rows():
    older = RUNS[["data_label", "last", "baseline"]]
    assert reported(older, "last").tolist() == [10, 20, 30]
    assert reported_baseline(older).tolist() == [1, 2, 3]
    assert scored_data_labels(older).tolist() == ["CB"] * 3
    with pytest.raises(RankprobeError, match="unknown score 'lst'"):
        reported(RUNS, "lst")


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A trained run on a held-back half, and what was printed while it trained."""
    folder, screen = tmp_path_factory.mktemp("half"), io.StringIO()
    with RunProgress(Console(file=screen, width=300), several=False) as progress:
        run = rp.train(quick(task="cb", report_split="half"), runs_dir=folder, hooks=[progress])
    return run, screen.getvalue()


def logged(run, split: str) -> pd.DataFrame:
    evals = run.log("evals")
    return evals[(evals["split"] == split) & (evals["metric"] == run.manifest["progress"]["metric"])]


def test_a_new_run_has_the_majority_of_the_reported_half(half):
    run, _ = half
    rate = run.manifest["progress"]["report_baseline"]
    assert rate == logged(run, "report")["baseline"].iloc[0]
    assert rate != run.manifest["progress"]["baseline"], "else this test shows nothing"
    assert reported_baseline(list_frame(run.path.parent)).tolist() == [rate]


def test_of_an_older_run_it_is_read_from_its_log(half):
    run, _ = half
    before = run.manifest["progress"]
    run.update({"progress": {name: value for name, value in before.items() if name != "report_baseline"}})
    try:
        assert reported_baseline(list_frame(run.path.parent)).tolist() == [before["report_baseline"]]
    finally:
        run.update({"progress": before})


def test_listing_summary_and_progress_print_the_reported_half(half):
    run, progress = half
    end = logged(run, "report").iloc[-1]
    screen = io.StringIO()
    summary(Console(file=screen, width=300), run)
    lines = {
        line[2:24].strip(): line[25:] for line in screen.getvalue().splitlines() if line.startswith("  ")
    }
    reported_line = lines["held-back half of dev"]
    assert f"last {end['value']:.1f} " in reported_line
    assert reported_line.endswith(f"accuracy, baseline {end['baseline']:.1f}")
    assert lines["invalid answers"] == f"{end['n_invalid']} of {end['n_examples']}"
    table = runs_table(list_frame(run.path.parent))
    assert "CB, held-back half of dev" in table
    expected = f"{end['value']:.1f}".removesuffix(".0"), f"{end['baseline']:.1f}".removesuffix(".0")
    assert tuple(table.split()[-2:]) == expected
    said = f"held-back half of dev {end['value']:.1f} (baseline {end['baseline']:.1f})"
    assert said in progress.splitlines()[-1]
