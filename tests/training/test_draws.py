"""Many Gaussian and Haar twins of one run: they change nothing else, and the run has a place among them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from conftest import assert_equal_runs, quick

import rankprobe as rp
from rankprobe.errors import RunInterrupted
from rankprobe.rank import erank_rv, gaussian_like
from rankprobe.reports import findings
from rankprobe.reports.draws import places
from rankprobe.training import gradients
from rankprobe.twins import MIN_DRAWS, further_draws, kind_and_draw, twin_prefix, twin_title

SETTINGS = {"twin": "gaussian,haar,flip-block", "checkpoint_every": 2, "prompt_length": 4}
NAMES = further_draws(["gaussian", "haar", "flip-block"], MIN_DRAWS)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return rp.train(quick(twin_draws=MIN_DRAWS, **SETTINGS), runs_dir=tmp_path_factory.mktemp("many"))


def test_further_draws_change_no_other_reading_and_are_logged_at_the_last_step(tmp_path, many):
    plain = rp.train(quick(**SETTINGS), runs_dir=tmp_path)
    pd.testing.assert_frame_equal(many.log("steps"), plain.log("steps"), check_exact=True)
    spectra = many.log("spectra")
    own = spectra[~spectra["matrix"].str.contains(r"_\d+_")].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, plain.log("spectra"), check_exact=True)
    further = spectra[spectra["matrix"].str.contains(r"_\d+_")]
    expected = {f"{twin_prefix(name)}{matrix}" for name in NAMES for matrix in ("P", "sigma")}
    assert {*further["matrix"]} == expected
    assert len(expected) == 2 * 2 * (MIN_DRAWS - 1)
    assert {*further["step"]} == {spectra["step"].max()}
    largest = further[further["matrix"].str.endswith("_P") & (further["index"] == 0)]["value"]
    assert largest.nunique() == len(NAMES)


def test_a_resume_goes_on_with_each_draw(tmp_path, many):
    def stop(record):
        if record.step == 4:
            raise RunInterrupted("stop")

    with pytest.raises(RunInterrupted):
        rp.train(quick(twin_draws=MIN_DRAWS, **SETTINGS), runs_dir=tmp_path, hooks=[stop])
    (resumed,) = rp.resume([rp.find_run(many.id, tmp_path)])
    assert_equal_runs(resumed, many)


def test_one_seed_has_a_place_among_its_twins(many):
    log, row = many.log("spectra"), many.readings()
    s = {name: part["value"].to_numpy() for name, part in log[log["step"] == row["step"]].groupby("matrix")}
    eranks = [erank_rv(s[f"{twin_prefix(name)}P"], (4, 4)) for name in NAMES if name.startswith("haar")]
    below = sum(value < row["P_erank_rv"] for value in [*eranks, row["haar_P_erank_rv"]])
    where = {0: "smaller than all", MIN_DRAWS: "larger than all"}.get(below, f"larger than {below} of")
    (count,), (present,) = (
        [each for each in findings([many]) if words in each]
        for words in ("stayed positive", "has numerical rank")
    )
    assert f"{where} {MIN_DRAWS} Haar twins, two-sided p = " in present
    assert re.search(
        r"One seed: no verdict; it is .*Gaussian twins, two-sided p = .*, and .* Haar twins", count
    )


def test_other_runs_have_no_place(tmp_path, many):
    plain = rp.train(quick(**SETTINGS), runs_dir=tmp_path)
    assert places(plain, plain.readings(), "n_positive") == []
    assert len(places(many, many.readings(), "n_positive")) == 2
    assert "two-sided" not in " ".join(findings([many, many]))


def test_a_draw_that_diverges_is_named_and_the_others_go_on(tmp_path, monkeypatch, many):
    calls = []

    def noise(shape, norm, rng):
        calls.append(norm)
        return gaussian_like(shape, norm, rng) * (np.nan if len(calls) == 2 else 1.0)

    monkeypatch.setattr(gradients, "gaussian_like", noise)
    with pytest.warns(UserWarning, match="the Gaussian twin 2 diverged at step 1"):
        run = rp.train(quick(twin_draws=MIN_DRAWS, **SETTINGS), runs_dir=tmp_path)
    pd.testing.assert_frame_equal(run.log("steps"), many.log("steps"), check_exact=True)
    assert {*many.log("spectra")["matrix"]} - {*run.log("spectra")["matrix"]} == {
        "gaussian_2_P",
        "gaussian_2_sigma",
    }
    assert ["Haar" in words for words in places(run, run.readings(), "n_positive")] == [True]
    rp.load_runs(tmp_path)


def test_names_of_draws():
    assert [kind_and_draw(name) for name in ("haar", "flip-block", "gaussian-12")] == [
        ("haar", 1),
        ("flip-block", 1),
        ("gaussian", 12),
    ]
    assert (twin_title("haar"), twin_title("haar-3")) == ("Haar twin", "Haar twin 3")
