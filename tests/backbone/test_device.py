"""Where a backbone computes and in which dtype, where nobody says so: a GPU is used if there is one."""

from __future__ import annotations

import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import chosen_device, chosen_dtype
from rankprobe.config.run import RunConfig
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import on_this_machine
from rankprobe.runs import provenance


@pytest.fixture
def machine(monkeypatch):
    """A machine with a GPU of some kind, as far as torch can be asked."""

    def has(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def test_cuda_then_mps_then_the_cpu(machine):
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        machine(cuda, mps)
        assert chosen_device("auto") == expected
        assert chosen_device("cuda:1") == "cuda:1"
    machine(mps=True)
    assert chosen_device("auto", "float64") == "cpu"  # MPS has no float64


def test_frozen_weights_are_bfloat16_on_cuda_only(machine):
    machine(cuda=True)
    assert chosen_dtype(None, "auto") == chosen_dtype(None, "cuda:1") == "bfloat16"
    assert chosen_dtype(None, "cpu") == chosen_dtype(None, "mps") == "float32"
    assert chosen_dtype("float32", "cuda") == "float32"
    assert chosen_dtype(None, "auto", "0=20GiB") == "bfloat16"
    machine()
    assert chosen_dtype(None, "auto") == chosen_dtype(None, "auto", "cpu=8GiB") == "float32"


@pytest.mark.parametrize(
    ("settings", "device", "dtype"),
    [
        ({}, "cuda", "bfloat16"),
        ({"dtype": "float32"}, "cuda", "float32"),
        ({"device": "cpu"}, "cpu", "float32"),
        ({"method": "finetune"}, "cuda", "float32"),  # its small steps would be lost
        ({"device_map": "auto"}, "auto", "bfloat16"),
    ],
)
def test_what_was_chosen_is_written_down(machine, settings, device, dtype):
    machine(cuda=True)
    asked = RunConfig.parse(settings)
    here = on_this_machine(asked)
    assert (here.device, here.dtype) == (device, dtype)
    assert asked.device == settings.get("device", "auto")
    assert on_this_machine(here) == here


def test_a_run_says_where_it_was_trained(tmp_path):
    run = rp.train(quick(steps=1), runs_dir=tmp_path)
    config = run.manifest["config"]
    assert (config["device"], config["dtype"]) == ("cpu", "float32")
    assert run.manifest["machine"]["device"] == "cpu"
    # Asked for again in the same words, it is that run.
    assert rp.train(quick(steps=1), runs_dir=tmp_path, if_exists="resume").id == run.id
    with pytest.raises(RankprobeError, match="was started with dtype 'float32', not 'bfloat16'"):
        rp.train(quick(steps=1, dtype="bfloat16"), runs_dir=tmp_path, name=run.id, if_exists="resume")


def test_the_manifest_names_gpu_cuda_and_tf32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = provenance.machine("cuda:0")
    assert (found["processor"], found["cuda"], found["tf32"]) == ("GPU of cuda:0", "13.0", False)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert provenance.machine("cuda:0")["tf32"] is True
    assert provenance.machine("cpu")["tf32"] is None
