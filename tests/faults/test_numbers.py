"""Numerical faults: dead probes, singular values that do not converge, losses that are not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.evaluation.truncation import truncate
from rankprobe.prompts.init import truncated_svd
from rankprobe.rank import NotConverged, directions, gram_singular_values, singular_values, truncated
from rankprobe.training import run_state
from rankprobe.training.run_state import RunState


def not_converging(*_, **__):
    raise np.linalg.LinAlgError("SVD did not converge")


@pytest.fixture
def stack():
    return np.random.default_rng(0).normal(size=(3, 8, 20))


def test_if_divide_and_conquer_fails_another_driver_is_used(stack, monkeypatch):
    expected = singular_values(stack), truncated(stack[0], [2], "top"), directions(stack[0], 2)
    monkeypatch.setattr(np.linalg, "svd", not_converging)
    monkeypatch.setattr(np.linalg, "eigvalsh", not_converging)
    np.testing.assert_allclose(singular_values(stack), expected[0], rtol=1e-12)
    np.testing.assert_allclose(gram_singular_values(stack), expected[0], rtol=1e-12)
    np.testing.assert_allclose(truncated(stack[0], [2], "top"), expected[1], rtol=1e-9)
    np.testing.assert_allclose(abs(directions(stack[0], 2)), abs(expected[2]), rtol=1e-9)


def fail_everywhere(monkeypatch):
    for name in ("svd", "eigvalsh"):
        monkeypatch.setattr(np.linalg, name, not_converging)
    monkeypatch.setattr("scipy.linalg.svd", not_converging)


def test_singular_values_that_do_not_converge_are_an_error(stack, monkeypatch):
    fail_everywhere(monkeypatch)
    for reading in (singular_values, gram_singular_values, lambda m: directions(m, 2), rp.rank.measure):
        with pytest.raises(NotConverged, match=r"shape \(8, 20\) with entries up to .* were not found"):
            reading(stack[0])


def test_a_missing_reading_does_not_end_the_training(tmp_path, monkeypatch):
    whole = rp.train(quick(), runs_dir=tmp_path, name="whole")

    def at_step_three(record):
        if record.step == 3:
            fail_everywhere(monkeypatch)
        if record.step == 4:
            monkeypatch.undo()

    with pytest.warns(UserWarning, match="run: no ranks at step 4: the singular values"):
        run = rp.train(quick(), runs_dir=tmp_path, name="run", hooks=[at_step_three])
    steps, expected = run.log("steps"), whole.log("steps")
    assert np.flatnonzero(steps["P_numerical_rank"].isna()).tolist() == [4]
    assert steps["loss"].equals(expected["loss"])
    assert steps["n_positive"].equals(expected["n_positive"])
    assert 4 not in set(run.log("spectra").query("matrix == 'P'")["step"])
    np.testing.assert_array_equal(run.prompt(), whole.prompt())


def test_an_initial_prompt_whose_singular_values_are_not_found(monkeypatch):
    def failing(*_, **__):
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "svd", failing)
    with pytest.raises(
        RankprobeError, match=r"initial prompt \(4, 6\) were not found; use another --factor-init"
    ):
        truncated_svd(torch.ones(4, 6), 2)


def test_a_dead_probe_has_rank_zero(tmp_path, monkeypatch):
    begin = run_state.new_optimization

    def dead(config, session):
        optimization = begin(config, session)
        with torch.no_grad():
            optimization.method.sigma.fill_(-1.0)
        return optimization

    monkeypatch.setattr(run_state, "new_optimization", dead)
    run = rp.train(quick(), runs_dir=tmp_path)
    steps = run.log("steps").iloc[1:]
    assert (steps["n_positive"] == 0).all()
    assert (steps["grad_norm"] == 0).all()
    assert (steps["grad_norm_P"] > 0).all()
    for name in ("P_numerical_rank", "P_erank_rv", "P_stable_rank", "gaussian_P_erank_rv", "dP_erank_rv"):
        assert (steps[name] == 0).all(), name
    assert not run.prompt().any()
    assert (rp.rank.measure(run.prompt()) == 0).all()
    assert all(math.isnan(row) for row in truncate(run).functional_rank["functional_rank"])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_non_finite_number_ends_the_run_before_the_update(tmp_path, monkeypatch, wrong, what):
    update = RunState.update

    def spoil(self, step):
        if step == 4:
            self.loss = wrong if what == "loss" else self.loss
            if what == "gradient":
                self.P.grad[0, 0] = wrong
        return update(self, step)

    monkeypatch.setattr(RunState, "update", spoil)
    with pytest.raises(RunFailed, match=r"run 'run' failed at step 4: .*(nan|inf).*its logs stay in .*lower"):
        rp.train(quick(), runs_dir=tmp_path, name="run")
    run = rp.find_run("run", tmp_path)
    assert run.status == "failed"
    assert run.log("steps")["step"].tolist() == [0, 1, 2, 3]
    logged = run.log("steps").iloc[1:].select_dtypes("number")
    assert np.isnan(logged.pop("grad_cosine").iloc[0])  # the first gradient has none before it
    assert np.isfinite(logged).all().all()
    monkeypatch.undo()
    assert rp.resume([run])[0].status == "finished"
