"""The bundled backbones are the recorded ones, load at once, and can do under a prefix what the card says."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
import torch

from experiments.pretrain.corpus import ANSWERS, with_prefix
from experiments.pretrain.pieces import tokenizer
from experiments.pretrain.scores import answers
from experiments.pretrain.train import SIZES
from rankprobe.backbone import load_backbone
from rankprobe.bundled import BACKBONES, FOLDER
from rankprobe.tasks import TASKS, baseline_scores, load_split, score

RECORDED = Path(__file__).parent.parent.parent / "experiments" / "pretrain"
LIMITS = {"tiny": 4e6, "mini": 10e6}


@pytest.mark.parametrize("name", BACKBONES)
def test_the_weights_are_the_recorded_ones(name):
    weights = (FOLDER / name / "model.safetensors").read_bytes()
    assert len(weights) <= LIMITS[name]
    recorded = json.loads((RECORDED / f"{name}_scores.json").read_text())
    assert hashlib.sha256(weights).hexdigest() == recorded["weights_sha256"]


@pytest.mark.parametrize("name", BACKBONES)
def test_it_is_what_the_recipe_makes(name):
    backbone = load_backbone(name)
    config = backbone.model.config.to_dict()
    assert {key: config[key] for key in SIZES[name]} == SIZES[name]
    assert backbone.label == f"{name} (rankprobe's own)"
    assert not backbone.random_weights
    assert backbone.tokenizer.get_vocab() == tokenizer().get_vocab()
    for parameter in backbone.model.parameters():  # shipped in bfloat16, so both dtypes are the same model
        assert torch.equal(parameter, parameter.bfloat16().float())


@pytest.mark.parametrize("name", BACKBONES)
def test_loading_takes_less_than_two_seconds(name):
    load_backbone(name)  # imports
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        load_backbone(name)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2


def test_a_folder_of_that_name_does_not_hide_it(tmp_path, monkeypatch):
    from rankprobe.config.run import RunConfig

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert load_backbone(RunConfig().model).source == "bundled"


@pytest.mark.parametrize(("size", "task_name"), [("tiny", "cb"), ("tiny", "record"), ("mini", "rte")])
def test_a_prefix_calls_the_ability_up_and_nothing_does_without(size, task_name):
    backbone, task = load_backbone(size), TASKS[task_name]
    examples = load_split(task, "validation", "bundled-500").examples[:100]
    sources = [task.source(example.fields) for example in examples]
    options = ANSWERS.get(task_name, ())
    labels = dict(zip(options, task.labels, strict=True)) if options else {}

    def scored(texts):
        given = answers(backbone.model, backbone.tokenizer, texts)
        return score(task, examples, [labels.get(text, text) for text in given], "words").values[
            task.metrics[0]
        ]

    recorded = json.loads((RECORDED / f"{size}_scores.json").read_text())["scores"][task_name][
        task.metrics[0]
    ]
    assert scored([with_prefix(task_name, source, options) for source in sources]) > recorded - 8
    plain = answers(backbone.model, backbone.tokenizer, sources)
    majority = baseline_scores(task, examples, "digits")[task.metrics[0]]
    without = score(task, examples, plain, "digits").values[task.metrics[0]]
    assert without < (majority + recorded) / 2  # ReCoRD's answers need no label words: a guess may be right
