"""A probe with orthonormal U and V: it trains, its count is the rank of P, and it resumes bit for bit."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from conftest import assert_equal_runs, quick

import rankprobe as rp
from rankprobe.errors import RunInterrupted
from rankprobe.prompts.config import ProbeConfig
from rankprobe.studies.calibration import calibrate

SETTINGS = {"method": "probe", "orthonormal": True, "checkpoint_every": 2, "eval_every": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return rp.train(quick(**SETTINGS), runs_dir=tmp_path_factory.mktemp("whole"), name="run")


def test_training_moves_every_factor_and_sigma_stays_the_singular_values_of_p(whole):
    assert not np.array_equal(whole.prompt("final"), whole.prompt("P0"))
    last = whole.log("steps").iloc[-1]
    assert all(last[f"grad_norm_{name}"] > 0 for name in ("U", "sigma", "V"))
    spectra = whole.log("spectra")
    final = spectra[spectra["step"] == spectra["step"].max()]
    s, sigma = (final.loc[final["matrix"] == name, "value"].to_numpy() for name in ("P", "sigma"))
    np.testing.assert_allclose(np.sort(s)[::-1], np.sort(sigma.clip(min=0))[::-1], rtol=1e-5, atol=1e-5)


def test_it_resumes_bit_for_bit(whole, tmp_path):
    def stop(record):
        if record.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterrupted):
        rp.train(quick(**SETTINGS), runs_dir=tmp_path, name="run", hooks=[stop])
    run = rp.find_run("run", tmp_path)
    rp.resume([run])
    assert_equal_runs(run, whole)


def test_the_count_of_positive_entries_is_the_planted_rank_and_the_rank_of_p():
    """The paper's probe loses all its entries here. docs/reading-a-rank.md has five seeds at full size."""
    methods = (ProbeConfig(), ProbeConfig(orthonormal=True))
    frame = calibrate(methods=methods, planted=(8,), seeds=(0,), steps=800, shape=(40, 50))
    wide = frame.pivot(index="orthonormal", columns="reading", values="recovered")
    assert wide.loc[False, "n_positive"] == 0
    assert abs(wide.loc[True, "n_positive"] - 8) <= 2
    assert wide.loc[True, "n_positive"] == wide.loc[True, "P_numerical_rank"]
