"""The numbers of a run folder, step by step, whatever state the folder is in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.errors import RankprobeError
from rankprobe.runs.logs import AppendLog, compact
from rankprobe.trackers.points import PointReader

EVAL = {"split": "validation", "scoring": "greedy", "metric": "accuracy", "baseline": 40.0, "n_invalid": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return rp.train(quick(), runs_dir=tmp_path_factory.mktemp("runs"), name="one")


@pytest.fixture
def run(finished, tmp_path):
    """A run that has written nothing but its manifest."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "manifest.json").write_bytes((finished.path / "manifest.json").read_bytes())
    return rp.Run(folder)


def write(run, log: str, *rows: dict) -> None:
    file = AppendLog(run.path / f"{log}.jsonl")
    file.write(rows)
    file.close()


def test_a_log_that_grows_gives_the_points_of_the_finished_run(finished, run):
    reader, points = PointReader(run), []
    assert reader.new_points() == []
    evals = finished.log("evals").to_dict("records")
    for row in finished.log("steps").to_dict("records"):
        step = row["step"]
        write(run, "evals", *(each for each in evals if each["step"] == step))
        if step % 2:
            points += reader.new_points()  # between the evaluation and its step
        write(run, "steps", {name: None if math.isnan(value) else value for name, value in row.items()})
    points += reader.new_points()
    compact(run.path / "steps")
    compact(run.path / "evals")
    points += reader.new_points()
    assert points == PointReader(finished).new_points()
    assert [point.step for point in points] == list(range(7))
    scored = [point.step for point in points if "evals/validation/accuracy" in point.values]
    assert scored == [0, 3, 6]


def test_a_line_that_is_being_written_waits(run):
    reader = PointReader(run)
    write(run, "steps", {"step": 0, "loss": 1.0}, {"step": 1, "loss": 2.0})
    whole = (run.path / "steps.jsonl").read_bytes()
    (run.path / "steps.jsonl").write_bytes(whole[:-5])
    assert [point.step for point in reader.new_points()] == [0]
    (run.path / "steps.jsonl").write_bytes(whole)
    (point,) = reader.new_points()
    assert (point.step, point.values) == (1, {"steps/loss": 2.0})


def test_an_evaluation_without_its_step_has_no_point(run):
    write(run, "steps", {"step": 0, "loss": 1.0})
    write(run, "evals", {"step": 5, "value": 50.0, **EVAL})
    assert [point.step for point in PointReader(run).new_points()] == [0]


def test_only_finite_numbers_are_values(run):
    row = {"step": 0, "text": "a", "yes": True, "none": None, "whole": 3}
    write(run, "steps", row)
    with (run.path / "steps.jsonl").open("a") as file:  # not of rankprobe
        file.write('{"step": 1, "nan": NaN, "infinite": Infinity, "half": 0.5}\n')
    assert [point.values for point in PointReader(run).new_points()] == [
        {"steps/whole": 3.0},
        {"steps/half": 0.5},
    ]


def test_names_of_evaluations(run):
    write(run, "steps", {"step": 0})
    both = [{"step": 0, "value": 50.0, **EVAL}, {"step": 0, "value": 60.0, **EVAL, "scoring": "rank"}]
    write(run, "evals", both[0])
    (point,) = PointReader(run).new_points()
    assert point.values == {
        "evals/validation/accuracy": 50.0,
        "evals/validation/accuracy_baseline": 40.0,
        "evals/validation/n_invalid": 3.0,
    }
    manifest = run.manifest
    run.update({"config": {**manifest["config"], "scoring": "both"}})
    write(run, "evals", both[1])
    (point,) = PointReader(run).new_points()
    assert point.values["evals/validation/greedy/accuracy"] == 50.0
    assert point.values["evals/validation/rank/accuracy"] == 60.0


def test_columns_of_earlier_versions_have_their_present_names(run):
    write(run, "steps", {"step": 0, "twin_n_positive": 4})
    (point,) = PointReader(run).new_points()
    assert point.values == {"steps/gaussian_n_positive": 4.0}


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"loss": 1}', '{"step": "one"}', "[" * 100_000])
def test_a_damaged_log_is_named(run, line):
    write(run, "steps", {"step": 0})
    with (run.path / "steps.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RankprobeError, match=r"steps\.jsonl is damaged"):
        PointReader(run).new_points()


def test_a_folder_of_tensorboard_that_is_a_link_is_not_written_through(run, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    other = tmp_path / "other"
    other.mkdir()
    (run.path / "tensorboard").symlink_to(other)
    (row,) = rp.track([run], "tensorboard")
    assert "is a symbolic link" in str(row.error)
    assert not list(Path(other).iterdir())
