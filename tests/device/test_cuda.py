"""On a GPU, where there is one: training, resuming, evaluating and truncating, compared with the CPU.

Kernels round differently there, so numbers are close to those of the CPU, not equal.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import quick
from small_llama import save_llama

import rankprobe as rp
from rankprobe.errors import RunInterrupted
from rankprobe.evaluation import evaluate_runs, truncate
from rankprobe.prompts import METHODS
from rankprobe.runs import Run
from rankprobe.training import train_cohort
from rankprobe.twins import ALL_TWINS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU with CUDA")

SHORT = {"steps": 4, "eval_every": 4, "checkpoint_every": 2, "dtype": "float32", "twin": ALL_TWINS}
SETTINGS = {"subspace": {"dimension": 5}, "dpt": {"bottleneck": 2}, "probe": {"orthogonality": 0.1}}
MODES = {"float32": {}, "bfloat16": {"dtype": "bfloat16"}, "dropout": {"dropout": True},
         "recomputing": {"gradient_checkpointing": True}}  # fmt: skip


@pytest.fixture(params=["random:tiny", 0.0, 0.1])
def model(request, tmp_path):
    """The name of a model, or a Llama with this dropout in its attention; with 0, its attention is fused."""
    if isinstance(request.param, str):
        return request.param
    return save_llama(tmp_path / "llama", request.param)


def configs(K, device, **settings):
    return [quick(**{**SHORT, **settings}, device=device, seed=seed) for seed in range(K)]


def readings(runs):
    """The columns of the steps that hold numbers of run and twins, without counts near a threshold."""
    steps = pd.concat([run.log("steps") for run in runs])
    return steps[[name for name in steps if "grad_norm" in name or name == "loss" or "stable_rank" in name]]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_as_on_the_cpu(method, tmp_path):
    runs = {
        device: train_cohort(
            configs(1, device, method=method, **SETTINGS.get(method, {})), runs_dir=tmp_path / device
        )
        for device in ("cuda", "cpu")
    }
    assert runs["cuda"][0].manifest["machine"]["processor"] == torch.cuda.get_device_name()
    np.testing.assert_allclose(readings(runs["cuda"]), readings(runs["cpu"]), rtol=0.01, atol=1e-3)
    for each in runs["cuda"]:
        assert len(evaluate_runs([each], scoring="both"))
    if runs["cuda"][0].prompt("final").size:
        assert len(truncate(runs["cuda"][0], ks=[1]).curves)


@pytest.mark.parametrize("mode", MODES)
def test_a_stopped_cohort_goes_on(model, mode, tmp_path):
    def stop(record):
        if record.step == 3:
            raise KeyboardInterrupt

    three = configs(3, "cuda", model=model, **MODES[mode])
    with pytest.raises((KeyboardInterrupt, RunInterrupted)):
        train_cohort(three, runs_dir=tmp_path / "stopped", hooks=[stop])
    runs = rp.resume([Run(tmp_path / "stopped" / config.run_id) for config in three])
    whole = train_cohort(three, runs_dir=tmp_path / "whole")
    assert [run.status for run in runs] == ["finished"] * 3
    np.testing.assert_allclose(readings(runs), readings(whole), rtol=0.01, atol=1e-3)


def test_a_member_of_a_cohort_trains_as_alone(model, tmp_path):
    together = train_cohort(configs(3, "cuda", model=model), runs_dir=tmp_path / "together")
    alone = train_cohort(configs(1, "cuda", model=model), runs_dir=tmp_path / "alone")
    np.testing.assert_allclose(readings(together[:1]), readings(alone), rtol=0.01, atol=1e-3)
