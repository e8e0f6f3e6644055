"""What `test_pretend_device.py` runs in a process of its own, on the pretend device of `pretend.py`."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pretend
import pytest
import torch
from conftest import assert_equal_runs, quick
from transformers import LlamaConfig, LlamaForCausalLM

import rankprobe as rp
from rankprobe import bundled
from rankprobe.backbone import PromptInput, device, load_backbone
from rankprobe.backbone.check import label_logits, short_batch
from rankprobe.backbone.load import load_tokenizer
from rankprobe.errors import RunFailed, RunInterrupted
from rankprobe.evaluation import evaluate_runs, load, truncate, truncation
from rankprobe.prompts import METHODS
from rankprobe.runs import Run
from rankprobe.training import loop, train_cohort

LOADED_ONCE = cache(load_backbone)
SHORT = {"batch_size": 8, "steps": 4, "eval_every": 4, "checkpoint_every": 2, "twin": True}
SETTINGS = {"subspace": {"dimension": 5}, "dpt": {"bottleneck": 2}, "probe": {"orthogonality": 0.1}}
MODES = {"bfloat16": {"dtype": "bfloat16"}, "dropout": {"dropout": True},
         "recomputing": {"gradient_checkpointing": True}}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def pretend_device():
    pretend.register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "DEVICES", (*device.DEVICES, pretend.NAME))
        patch.setattr(torch, "Generator", pretend.PretendGenerator)
        patch.setattr(truncation, "RESAMPLES", 2)
        yield


@pytest.fixture(scope="session")
def few_rows(tmp_path_factory):
    """A folder with the first bundled rows of CB: two steps per epoch, one batch to evaluate."""
    folder = tmp_path_factory.mktemp("rows") / "CB"
    folder.mkdir()
    for name, count in (("train", 16), ("val", 8)):
        lines = (bundled.FOLDER / "CB" / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(lines[:count]))
    return str(folder.parent)


@pytest.fixture
def cohort(few_rows, monkeypatch):
    """A function from K and settings to the configs of K runs; those that can share a backbone share it."""

    def configs(K, **settings):
        if settings.get("method") != "finetune":
            monkeypatch.setattr(load, "load_backbone", LOADED_ONCE)
        return [quick(**{**SHORT, "data": few_rows, **settings}, seed=seed) for seed in range(K)]

    return configs


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A folder with a decoder-only model."""
    pieces = load_tokenizer("tiny")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"vocab_size": len(pieces), "eos_token_id": pieces.eos_token_id, "pad_token_id": pieces.pad_token_id}
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**sizes, **special, attention_dropout=0.1, initializer_range=0.2))
    for part in (network, pieces):
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture(params=["random:tiny", "llama"])
def model(request):
    """The name of a model, or the folder of one that is made first."""
    return request.getfixturevalue(request.param) if request.param == "llama" else request.param


def interrupted_and_resumed(configs, folder):
    """Runs that are stopped at step 3, and go on from the checkpoint of step 2."""

    def stop(record):
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, RunInterrupted)):
        train_cohort(configs, runs_dir=folder, hooks=[stop])
    return rp.resume([Run(path) for path in sorted(folder.iterdir()) if path.is_dir()])


def check(configs, folder):
    """Train, resume, evaluate and truncate on the device; everything equals the same on the CPU."""
    on_device = [each.model_copy(update={"device": pretend.NAME}) for each in configs]
    cpu = train_cohort([each.model_copy(update={"device": "cpu"}) for each in configs], runs_dir=folder / "cpu")
    runs = interrupted_and_resumed(on_device, folder / pretend.NAME)
    for run, expected in zip(runs, cpu, strict=True):
        assert run.manifest["machine"]["device"] == f"{pretend.NAME}:0"
        assert_equal_runs(run, expected)
    scores = [evaluate_runs(each, scoring="both").drop(columns="run_id") for each in (runs, cpu)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    if runs[0].prompt("final").size:
        curves = [truncate(each[0], ks=[1]).curves.drop(columns="run_id") for each in (runs, cpu)]
        pd.testing.assert_frame_equal(*curves, check_exact=True)


@pytest.mark.parametrize(
    ("method", "K"), [pair for pair in itertools.product(METHODS, (1, 3)) if pair != ("finetune", 3)]
)
def test_every_method_gives_the_results_of_the_cpu(method, K, cohort, tmp_path):
    check(cohort(K, method=method, **SETTINGS.get(method, {})), tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_results_of_the_cpu(model, mode, cohort, tmp_path):
    check(cohort(3, model=model, **MODES[mode]), tmp_path)


@pytest.mark.parametrize("K", [1, 3])
def test_a_decoder_gives_the_results_of_the_cpu(llama, K, cohort, tmp_path):
    check(cohort(K, model=llama), tmp_path)
