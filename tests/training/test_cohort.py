"""A member of a cohort gives what it would give alone.

Tolerance: 1e-9 relative in float64, over 12 steps. The members share matrix products, whose sums are
ordered differently; nothing else differs.
"""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.errors import RankprobeError, RunFailed, RunInterrupted
from rankprobe.training import loop

SETTINGS = {"dtype": "float64", "steps": 12, "eval_every": 4}


def members(**settings):
    """A probe, a DPT and a vanilla member, with different seeds, rates and data orders."""
    return [
        quick(method="probe", seed=1, **SETTINGS, **settings),
        quick(method="dpt", bottleneck=3, seed=2, learning_rate=0.1, **SETTINGS, **settings),
        quick(method="vanilla", seed=3, weight_decay=0.01, **SETTINGS, **settings),
    ]


def assert_close_runs(one, other, rtol=1e-9):
    ours, theirs = one.tensors(), other.tensors()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=rtol, atol=rtol, err_msg=name)
    mine, its = one.log("steps"), other.log("steps")
    assert list(mine) == list(its)
    for column in its:
        np.testing.assert_allclose(mine[column], its[column], rtol=1e-7, atol=1e-9, err_msg=column)
    assert one.log("evals").equals(other.log("evals"))


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("batching", ["length", "random"])
def test_a_member_equals_the_same_run_alone(tmp_path, dropout, batching):
    configs = members(dropout=dropout, batching=batching)
    together = rp.train_cohort(configs, runs_dir=tmp_path / "together")
    for config, run in zip(configs, together, strict=True):
        alone = rp.train(config, runs_dir=tmp_path / "alone")
        assert_close_runs(run, alone)


def test_so_does_every_other_method(tmp_path):
    short = {**SETTINGS, "steps": 6, "eval_every": 6}
    configs = [quick(method=name, seed=4, **short) for name in ("residual", "ulpt", "subspace", "dept")]
    configs.append(quick(method="probe", factor_init="svd", gate="softplus", orthogonality=0.1, **short))
    configs.append(quick(method="probe", orthonormal=True, seed=5, **short))
    together = rp.train_cohort(configs, runs_dir=tmp_path / "together")
    for config, run in zip(configs, together, strict=True):
        assert_close_runs(run, rp.train(config, runs_dir=tmp_path / "alone"), rtol=1e-9)


def test_dropout_changes_the_training(tmp_path):
    """Otherwise the test above would compare nothing with nothing."""
    on, off = (rp.train(members(dropout=dropout)[0], runs_dir=tmp_path).prompt() for dropout in (True, False))
    assert not np.allclose(on, off)


def test_an_interrupted_cohort_resumes_as_a_cohort(tmp_path):
    def stop(record):
        if record.step == 5 and "probe" in record.run_id:
            os.kill(os.getpid(), signal.SIGINT)

    configs = members()
    whole = rp.train_cohort(configs, runs_dir=tmp_path / "whole")
    with pytest.raises(RunInterrupted, match="stopped after step 5"):
        rp.train_cohort(configs, runs_dir=tmp_path / "parts", hooks=[stop])
    runs = rp.list_runs(tmp_path / "parts")
    rp.resume(runs)
    for run in whole:
        resumed = rp.find_run(run.id, tmp_path / "parts")
        np.testing.assert_array_equal(resumed.prompt(), run.prompt())
        assert resumed.log("steps").equals(run.log("steps"))


def test_a_failing_run_does_not_starve_the_others(tmp_path, monkeypatch):
    def stop(record):
        if record.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    configs = [quick(prompt_length=8), quick(prompt_length=9)]
    for config in configs:
        with pytest.raises(RunInterrupted):
            rp.train(config, runs_dir=tmp_path, hooks=[stop])
    real = loop.losses
    broken = configs[0].method.prompt_length

    def losses(backbone, prompt_inputs, batch):
        values = real(backbone, prompt_inputs, batch)
        return [v * float("nan") for v in values] if len(prompt_inputs[0].P) == broken else values

    monkeypatch.setattr(loop, "losses", losses)
    runs = [rp.find_run(config.run_id, tmp_path) for config in configs]
    with pytest.raises(RunFailed, match="failed at step 3: loss nan"):
        rp.resume(runs)
    assert [run.status for run in runs] == ["failed", "finished"]
    assert len(runs[1].manifest["resumed"]) == 1


def test_members_must_share_a_pass(tmp_path):
    with pytest.raises(RankprobeError, match="runs of one cohort must share 'prompt_length'; got 8 and 9"):
        rp.train_cohort([quick(), quick(seed=1, prompt_length=9)], runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match="two runs of a cohort have the same id"):
        rp.train_cohort([quick(), quick()], runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match="1 names for 2 runs; give one each"):
        rp.train_cohort([quick(), quick(seed=1)], runs_dir=tmp_path, names=["a"])
    assert not rp.list_runs(tmp_path)
