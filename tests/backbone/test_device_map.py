"""A backbone spread over memory and disk is the same backbone, and its weights are there when needed only."""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.utils.offload import OffloadedWeightsLoader
from conftest import quick
from test_splice import prompts, text_batch
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import AutoModelForCausalLM, GPT2Config

import rankprobe as rp
from rankprobe.backbone import (
    PromptInput,
    check_prompt_matters,
    decode,
    fingerprint,
    is_fetched,
    label_logits,
    likeliest,
    load_backbone,
    losses,
    recomputing,
    refetch_weights,
)
from rankprobe.backbone.load import load_tokenizer
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.evaluate import evaluate_runs
from rankprobe.evaluation.neighbors import neighbors
from rankprobe.training import memory
from rankprobe.training.session import open_session

LIMITS = {"t5": ("cpu=0KiB", "cpu=3MiB", "cpu=4300KiB"), "gpt2": ("cpu=0KiB", "cpu=400KiB")}
"""For weights in float64: everything on disk, all but the embedding, all but some blocks and the embedding."""


@pytest.fixture(scope="module", params=LIMITS)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    if request.param == "t5":
        small = load_backbone("random:tiny", dtype="float64")
        small.model.save_pretrained(path)
    else:
        tokenizer = load_tokenizer("tiny")
        ids = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
        config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=512, **ids)
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).double().save_pretrained(path)
    load_tokenizer("tiny").save_pretrained(path)
    return path


@pytest.fixture
def limits(folder):
    return LIMITS[json.loads((folder / "config.json").read_text())["model_type"]]


@pytest.fixture
def plain_layers(monkeypatch):
    """T5's own layers, as spread ones are: quicker ones round otherwise."""
    monkeypatch.setattr("rankprobe.backbone.load.fast_layers", lambda model: None)


def on_disk(backbone) -> int:
    return sum(p.is_meta for p in backbone.model.parameters())


def gradient(backbone, P, batch, *contexts):
    leaf = P.clone().requires_grad_()
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context(backbone.model))
        losses(backbone, [PromptInput(leaf)], batch)[0].backward()
    return leaf.grad


def test_where_the_weights_lie_changes_nothing(folder, limits, plain_layers):
    whole, counts = load_backbone(str(folder), dtype="float64"), []
    batch, (P,) = text_batch(), prompts(whole)
    candidates = [[[5, 1], [7, 8, 1]]] * 3
    for limit in limits:
        parts = load_backbone(str(folder), dtype="float64", device_map=limit)
        counts.append(on_disk(parts))
        assert fingerprint(parts) == fingerprint(whole)
        assert torch.equal(parts.embedding, whole.embedding)
        assert torch.equal(parts.vocabulary(), whole.vocabulary())
        assert (parts.d_model, parts.device) == (whole.d_model, torch.device("cpu"))
        assert parts.n_parameters() == whole.n_parameters()
        assert not any(p.requires_grad for p in parts.model.parameters())
        assert not any(module.training for module in parts.model.modules())
        assert torch.equal(*(label_logits(each, [PromptInput(P)], batch) for each in (parts, whole)))
        assert decode(parts, [PromptInput(P)], batch, 5) == decode(whole, [PromptInput(P)], batch, 5)
        assert likeliest(parts, [PromptInput(P)], batch, candidates) == likeliest(
            whole, [PromptInput(P)], batch, candidates
        )
        expected = gradient(whole, P, batch)
        assert expected.abs().max() > 0
        for contexts in ([], [refetch_weights], [recomputing, refetch_weights]):
            assert torch.equal(gradient(parts, P, batch, *contexts), expected)
            assert on_disk(parts) == counts[-1]
            assert not parts.model.fetched
        check_prompt_matters(parts, P, batch)
        assert on_disk(parts) == counts[-1]
        assert fingerprint(parts) == fingerprint(whole)
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == len(counts)
    assert counts[-1] > 0


def test_the_quicker_layers_give_the_same_up_to_rounding(folder):
    quicker = load_backbone(str(folder), dtype="float64")
    parts = load_backbone(str(folder), dtype="float64", device_map="cpu=0KiB")
    batch, (P,) = text_batch(), prompts(quicker)
    for what in (gradient, lambda *given: label_logits(given[0], [PromptInput(P)], batch)):
        torch.testing.assert_close(what(parts, P, batch), what(quicker, P, batch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_on_disk_are_rounded_as_in_memory(folder, plain_layers, dtype):
    parts, whole = (
        load_backbone(str(folder), dtype=dtype, device_map=device_map) for device_map in ("cpu=0KiB", None)
    )
    assert fingerprint(parts) == fingerprint(whole)
    batch, (P,) = text_batch(), prompts(whole)
    assert torch.equal(gradient(parts, P, batch, refetch_weights), gradient(whole, P, batch))


@pytest.fixture
def fetched(monkeypatch):
    """The memory of weights that were fetched and are still there, and how many there were at each fetch."""
    storages, alive = [], []
    get = OffloadedWeightsLoader.__getitem__

    def counted(self, key):
        storages[:] = [each for each in storages if not each.expired()]
        alive.append(len(storages))
        value = get(self, key)
        storages.append(StorageWeakRef(value.untyped_storage()))
        return value

    monkeypatch.setattr(OffloadedWeightsLoader, "__getitem__", counted)
    return storages, alive


def test_weights_on_disk_are_in_memory_a_layer_at_a_time(folder, fetched):
    storages, alive = fetched
    parts = load_backbone(str(folder), dtype="float64", device_map="cpu=0KiB")
    batch, (P,) = text_batch(), prompts(parts)
    storages.clear(), alive.clear()
    most = {}
    for name, context in (("kept", contextlib.nullcontext), ("again", refetch_weights)):
        with context(parts.model) if name == "again" else context():
            loss = losses(parts, [PromptInput(P.clone().requires_grad_())], batch)[0]
        between = sum(not each.expired() for each in storages)
        loss.backward()
        del loss
        most[name] = (between, max(alive))
        storages.clear(), alive.clear()
    assert most["kept"][0] > 10
    assert most["again"][0] == 0
    assert most["again"][1] <= 3  # a module's own weights, and one that autograd is done with


def test_a_broken_forward_pass_leaves_later_gradients_right(folder, plain_layers, monkeypatch):
    parts, whole = (
        load_backbone(str(folder), dtype="float64", device_map=each) for each in ("cpu=0KiB", None)
    )
    batch, (P,) = text_batch(), prompts(whole)
    with monkeypatch.context() as broken:
        broken.setattr("torch.nn.functional.softmax", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            gradient(parts, P, batch, refetch_weights)
    assert torch.equal(gradient(parts, P, batch, refetch_weights), gradient(whole, P, batch))
    # What the broken pass left noted may by now be the place of something else.
    parts.model.fetched[P.untyped_storage().data_ptr()] = parts.model.get_input_embeddings(), "weight"
    assert not is_fetched(parts.model, P)


def test_room_is_not_taken_by_weights_that_come_and_go(folder, plain_layers):
    settings = {"model": str(folder), "dtype": "float64"}
    parts, whole = (open_session([quick(**settings, device_map=each)]) for each in ("cpu=0KiB", None))
    assert on_disk(parts.backbone) > on_disk(whole.backbone) == 0
    assert memory.activation_bytes(parts, 8, 4) == memory.activation_bytes(whole, 8, 4)


@pytest.mark.parametrize(
    ("settings", "most"),
    [({}, 3), ({"dropout": True}, 3), ({"gradient_checkpointing": True}, 12)],  # recomputed: those of a block
)
def test_a_run_is_the_same_run(folder, limits, tmp_path, plain_layers, fetched, settings, most):
    runs = [
        rp.train(
            quick(model=str(folder), dtype="float64", device_map=device_map, **settings),
            runs_dir=tmp_path / str(device_map),
        )
        for device_map in (None, limits[-1])
    ]
    whole, parts = runs
    assert 0 < max(fetched[1]) <= most
    np.testing.assert_array_equal(parts.prompt(), whole.prompt())
    for log in ("steps", "spectra", "evals"):
        pd.testing.assert_frame_equal(*(each.log(log).filter(regex="^(?!.*seconds)") for each in runs))
    for key in ("fingerprint", "fingerprint_after", "n_parameters"):
        assert parts.manifest["backbone"][key] == whole.manifest["backbone"][key]
    assert evaluate_runs([parts])["value"].tolist() == evaluate_runs([whole])["value"].tolist()
    pd.testing.assert_frame_equal(neighbors(parts), neighbors(whole))


def test_a_bundled_backbone_and_one_that_fits(plain_layers):
    whole = load_backbone("tiny")
    for device_map in ("auto", "sequential", "cpu=10GiB", "cpu=1MiB"):
        parts = load_backbone("tiny", device_map=device_map)
        assert bool(on_disk(parts)) == (device_map == "cpu=1MiB")
        assert fingerprint(parts) == fingerprint(whole)


def offload_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("rankprobe-offload-*"))


@pytest.fixture
def pickled(tmp_path, monkeypatch):
    """Weights that cannot be read from their file one by one, and an empty place for temporary folders."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    small = load_backbone("random:tiny")
    small.model.config.save_pretrained(tmp_path / "model")
    torch.save(small.model.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    small.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model", fingerprint(small)


def test_the_offload_folder_goes_with_the_backbone(pickled):
    folder, proof = pickled
    parts = load_backbone(str(folder), device_map="cpu=0KiB")
    (offload,) = offload_folders()
    assert any(offload.iterdir())
    assert fingerprint(parts) == proof
    del parts
    gc.collect()
    assert not offload.exists()


def test_the_offload_folder_goes_when_loading_fails(pickled):
    folder, _ = pickled
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(RankprobeError, match="holds no language model that transformers can load"):
        load_backbone(str(folder), device_map="cpu=0KiB")
    assert not offload_folders()


def test_the_offload_folder_goes_at_exit(pickled):
    folder, _ = pickled
    program = f"""
import tempfile, pathlib
tempfile.tempdir = {tempfile.gettempdir()!r}
from rankprobe.backbone import load_backbone
kept = load_backbone({str(folder)!r}, device_map="cpu=0KiB")
print(len(list(pathlib.Path(tempfile.tempdir).glob("rankprobe-offload-*/*"))) > 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert not offload_folders()


@pytest.mark.parametrize(
    "device_map", ["autom", "cpu", "cpu=8", "cpu=8 GiB", "cuda=8GiB", "cpu=1GiB,cpu=2GiB", "", "disk=1GiB"]
)
def test_a_device_map_that_says_nothing(device_map):
    with pytest.raises(RankprobeError) as error:
        quick(device_map=device_map)
    assert str(error.value).startswith(f"device_map is '{device_map}'; expected auto, balanced, ")
    assert "\n" not in str(error.value)


def test_limits_are_taken_as_said():
    config = quick(device_map="1=20GiB, cpu=1.5GB")
    assert json.loads(json.dumps(config.flat()))["device_map"] == "1=20GiB, cpu=1.5GB"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "finetune"}, "method 'finetune' trains the backbone, but --device-map needs a frozen one; leave it out"),
        ({"device": "cuda"}, "--device and --device-map exclude each other; give one"),
    ],
)  # fmt: skip
def test_what_cannot_be_spread(settings, message):
    with pytest.raises(RankprobeError, match=f"^{message}$"):
        quick(device_map="auto", **settings)


def test_random_weights_missing_gpus_and_a_missing_accelerate(monkeypatch):
    with pytest.raises(
        RankprobeError, match="^model 'random:tiny' is made in memory, and --device-map spreads"
    ):
        load_backbone("random:tiny", device_map="auto")
    with pytest.raises(RankprobeError, match="^device_map is '77=1GiB' and there is no GPU 77; see"):
        load_backbone("tiny", device_map="77=1GiB")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(RankprobeError, match=r"not installed: pip install 'rankprobe\[accelerate\]'$"):
        load_backbone("tiny", device_map="auto")
