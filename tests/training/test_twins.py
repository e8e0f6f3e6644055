"""A noise twin that diverges: its columns are missing from then on, and the run is what it is without a twin."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import assert_equal_runs, quick
from rich.console import Console

import rankprobe as rp
from rankprobe import rank
from rankprobe.cli import show
from rankprobe.cli.progress import RunProgress
from rankprobe.data.seeding import numpy_generator
from rankprobe.errors import RunFailed, RunInterrupted
from rankprobe.plots import FIGURES
from rankprobe.prompts.config import ProbeConfig
from rankprobe.rank import NotConverged
from rankprobe.reports import findings
from rankprobe.reports.readings import analyze
from rankprobe.runs.step_record import StepRecord
from rankprobe.studies import calibration
from rankprobe.studies.calibration import summary
from rankprobe.training import gradients, recorder, twins

LOST = 4
"""The step at which the twin diverges."""


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    return rp.train(quick(twin="none"), runs_dir=tmp_path_factory.mktemp("without"), name="run")


def at_step(step, change):
    """`Twins.update`, with `change` applied to the twins before the update of `step`."""
    plain = twins.Twins.update

    def update(self, now, gradient, flipped=None):
        if now == step:
            change(self)
        return plain(self, now, gradient, flipped)

    return update


def times(factor):
    """The noise of the twin, multiplied by `factor` from step `LOST` on."""
    calls = []

    def noise(shape, norm, rng):
        calls.append(norm)
        return rank.gaussian_like(shape, norm, rng) * (factor if len(calls) >= LOST else 1.0)

    return noise


def spoiled(name, value):
    def change(one):
        with torch.no_grad():
            getattr(one.methods["gaussian"], name).flatten()[0] = value

    return change


def not_found(stack):
    """Of the fifth measurement with all twins, which is that of step 4, and there of the first twin alone."""
    calls = not_found.calls
    calls.append(len(stack))
    fifth = len(stack) == 10 and calls.count(10) == LOST + 1
    if fifth or (calls.count(10) == LOST + 1 and calls[-3:] == [10, 2, 2]):
        raise NotConverged("the singular values of a matrix were not found")
    return rank.gram_singular_values(stack)


DIVERGING = {
    "noise that is not a number": (gradients, "gaussian_like", lambda: times(math.nan)),
    "noise that overflows": (gradients, "gaussian_like", lambda: times(1e36)),
    "a factor": (twins.Twins, "update", lambda: at_step(LOST, spoiled("U", math.nan))),
    "a factor under the gate": (
        twins.Twins,
        "update",
        lambda: at_step(LOST, spoiled("sigma", -math.inf)),
    ),
    "P": (twins.Twins, "update", lambda: at_step(LOST, lambda one: huge(one.methods["gaussian"]))),
    "the spectrum": (recorder, "gram_singular_values", lambda: not_found),
}


@torch.no_grad()
def huge(method):
    method.U.mul_(1e30)
    method.V.mul_(1e30)


@pytest.mark.parametrize("what", DIVERGING)
def test_the_run_goes_on_without_its_twin(tmp_path, monkeypatch, without, what):
    owner, name, change = DIVERGING[what]
    not_found.calls = []
    monkeypatch.setattr(owner, name, change())
    with pytest.warns(UserWarning, match="twin") as told:
        run = rp.train(quick(spectrum_every=1), runs_dir=tmp_path, name="run")
    (warning,) = [str(each.message) for each in told]
    assert warning.startswith(f"run: the Gaussian twin diverged at step {LOST} (")
    assert run.status == "finished"
    assert run.manifest["progress"]["gaussian_lost"] == LOST
    steps, spectra = run.log("steps"), run.log("spectra")
    lost, others = (
        [column for column in steps if column.startswith(prefix)]
        for prefix in ("gaussian_", ("haar_", "flip_example_", "flip_block_"))
    )
    assert {
        "gaussian_n_positive",
        "gaussian_n_revived",
        "gaussian_P_erank_rv",
        "gaussian_dP_stable_rank",
    } <= {*lost}
    assert steps.loc[steps["step"] < LOST, lost].notna().all().all()
    assert steps.loc[steps["step"] >= LOST, lost].isna().all().all()
    assert len(others) == 3 * len(lost)
    assert steps[others].notna().all().all()
    assert spectra.loc[spectra["matrix"].str.startswith("gaussian_"), "step"].max() == LOST - 1
    pd.testing.assert_frame_equal(
        steps.drop(columns=[*lost, *others]), without.log("steps"), check_exact=True
    )
    assert run.log("evals").equals(without.log("evals"))
    for which in ("P0", "best", "final"):
        np.testing.assert_array_equal(run.prompt(which), without.prompt(which))


def test_a_twin_is_kept_where_no_singular_values_are_found_at_all(tmp_path, monkeypatch):
    calls = []

    def failing(stack):
        calls.append(len(stack))
        if len(calls) in (4, 5):  # of step 3: the second time without the twin
            raise NotConverged("the singular values of a matrix were not found")
        return rank.gram_singular_values(stack)

    monkeypatch.setattr(recorder, "gram_singular_values", failing)
    with pytest.warns(UserWarning, match="no ranks at step 3"):
        steps = rp.train(quick(), runs_dir=tmp_path).log("steps")
    assert steps["gaussian_n_positive"].notna().all()
    assert np.flatnonzero(steps["gaussian_P_erank_rv"].isna()).tolist() == [3]


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """Two seeds: the twin of the first diverges."""
    folder = tmp_path_factory.mktemp("lost")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradients, "gaussian_like", times(math.nan))
        with pytest.warns(UserWarning, match="one: the Gaussian twin diverged at step 4"):
            rp.train(quick(checkpoint_every=1, twin="gaussian"), runs_dir=folder, name="one")
    rp.train(quick(seed=7, checkpoint_every=1, twin="gaussian"), runs_dir=folder, name="two")
    return folder


@pytest.mark.parametrize("stop_at", [2, 5])
def test_resumed_before_and_after_the_twin_diverged(tmp_path, monkeypatch, lost, stop_at):
    def stop(record):
        if record.step == stop_at:
            raise KeyboardInterrupt

    def noise(shape, norm, at):  # a function of the step, whatever was drawn before
        drawn = rank.gaussian_like(shape, norm, numpy_generator(*at))
        return drawn * (math.nan if at[2] >= LOST else 1.0)

    monkeypatch.setattr(gradients, "numpy_generator", lambda *at: at)
    monkeypatch.setattr(gradients, "gaussian_like", noise)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises((KeyboardInterrupt, RunInterrupted)):
            rp.train(quick(checkpoint_every=1, twin="gaussian"), runs_dir=tmp_path, name="one", hooks=[stop])
        (resumed,) = rp.resume([rp.find_run("one", tmp_path)])
    assert sum("twin diverged" in str(each.message) for each in told) == 1
    assert_equal_runs(resumed, rp.find_run("one", lost))


def test_logs_and_checkpoints_of_a_lost_twin(tmp_path, monkeypatch):
    def stop(record):
        assert (record.row["gaussian_n_positive"] is None) == (record.step >= LOST)
        if record.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(gradients, "gaussian_like", times(math.nan))
    with (
        pytest.warns(UserWarning, match="Gaussian twin diverged"),
        pytest.raises((KeyboardInterrupt, RunInterrupted)),
    ):
        rp.train(quick(rank_every=2, checkpoint_every=1), runs_dir=tmp_path, name="run", hooks=[stop])
    lines = (tmp_path / "run" / "steps.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert rows[4]["gaussian_n_positive"] is rows[4]["gaussian_P_erank_rv"] is None
    assert "gaussian_P_erank_rv" not in rows[3]  # not due


def test_words_and_tables_say_that_a_twin_diverged(lost):
    one, two = (rp.find_run(name, lost) for name in ("one", "two"))
    count, present, *_ = findings([one])[1:]
    assert count.endswith(
        "diagonal entries stayed positive; the Gaussian twin diverged, so the count says nothing about rank."
    )
    assert "(the Gaussian twin diverged)" in present
    count, present, *_ = findings([one, two])[1:]
    kept = two.readings()["gaussian_n_positive"]
    assert f"the Gaussian twin kept {kept} (diverged in 1 of 2 runs). One seed: no verdict" in count
    assert " (diverged in 1 of 2 runs). One seed: no verdict" in present
    console = Console(record=True, width=200)
    show.summary(console, one)
    assert "noise twin diverged at step 4" in console.export_text()
    table = show.runs_table(rp.load_runs(lost).runs)
    assert "(diverged)" in table.splitlines()[1]
    assert "(diverged)" not in table.splitlines()[2]


def test_the_last_reading_of_a_lost_twin_is_no_null_of_the_final_prompt(lost):
    found = analyze([lost / "one", lost / "two"]).query("prompt == 'final' and matrix == 'P'")
    assert found.groupby("place")["gaussian"].apply(lambda twins: twins.notna().any()).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("only", [["one"], ["one", "two"]])
@pytest.mark.parametrize("name", ["fig3", "fig9", "grid"])
def test_figures_are_drawn(lost, name, only):
    figure = FIGURES[name](rp.load_runs(lost, only=only))
    titles = " ".join(axes.get_title() for axes in figure.axes).replace("\n", " ")
    if name in ("fig3", "fig9"):
        assert f"Gaussian twin diverged in 1 of {len(only)} runs (step 4)" in titles


def test_the_progress_line_says_it(lost):
    console = Console(record=True, width=200)
    with RunProgress(console, several=False) as progress:
        steps = rp.find_run("one", lost).log("steps")
        row = {**steps.iloc[-1].to_dict(), "n_positive": 5, "gaussian_n_positive": None}
        evals = [{"split": "validation", "metric": "accuracy", "value": 50.0, "baseline": 50.0}]
        progress(StepRecord("one", 6, 6, row, evals, torch.zeros(1), {}))
    assert "σ>0 5 (twin diverged)" in console.export_text()


def test_another_member_keeps_its_twin(tmp_path, monkeypatch):
    configs = [quick(seed=seed) for seed in (1, 2)]
    whole = rp.train_cohort(configs, runs_dir=tmp_path / "whole")
    change = at_step(LOST, lambda one: spoiled("U", math.nan)(one) if one.gradients.seed == 1 else None)
    monkeypatch.setattr(twins.Twins, "update", change)
    with pytest.warns(UserWarning, match="Gaussian twin diverged"):
        runs = rp.train_cohort(configs, runs_dir=tmp_path / "one lost")
    assert_equal_runs(runs[1], whole[1])
    assert runs[0].log("steps")["gaussian_n_positive"].notna().sum() == LOST


def test_planted_runs_go_on_without_their_twin(monkeypatch):
    settings = {"methods": (ProbeConfig(),), "planted": (2,), "shape": (6, 8), "steps": 20, "seeds": (0,)}
    whole = calibration.calibrate(**settings)
    monkeypatch.setattr(gradients, "gaussian_like", lambda shape, norm, rng: np.full(shape, np.nan))
    with pytest.warns(
        UserWarning, match="probe with planted rank 2, seed 0: the Gaussian twin diverged at step 1"
    ):
        found = calibration.calibrate(**settings)
    comparisons = found["reading"].str.endswith(("_minus_twin", "_above_twin"))
    assert found.loc[comparisons, "recovered"].isna().all()
    assert found["twin"].isna().all()
    own = ["reading", "recovered"]
    own += ["haar", "flip_block"]
    pd.testing.assert_frame_equal(found.loc[~comparisons, own], whole.loc[~comparisons, own])
    means = summary(found).loc[lambda each: each["recovered"].notna()]
    assert means["twin"].isna().all()
    assert means["flip_block"].notna().any()


def test_a_run_that_fails_itself_says_nothing_of_its_twin(tmp_path):
    with pytest.raises(RunFailed, match="P holds NaN or infinite entries"):
        rp.train(quick(learning_rate=1e30), runs_dir=tmp_path)  # a warning would be an error here
