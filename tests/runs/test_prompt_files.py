"""Prompts as people save them: files of torch.save under any name, archives, adapters wherever PEFT puts them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from conftest import SHARED
from safetensors.torch import save_file

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.errors import RankprobeError
from rankprobe.runs import read_prompt, read_prompts
from rankprobe.runs.files import write_atomically

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # asked for by peft

P = torch.arange(12.0).reshape(3, 4) / 7

KINDS = [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64]


def same(found, expected=P):
    np.testing.assert_array_equal(found, expected.numpy())


def refused(place, message):
    with pytest.raises(RankprobeError, match=re.escape(message)) as error:
        read_prompts(place)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["p.pt", "p.bin", "p.ckpt", "p.npy", "p.safetensors", "prompt", "p.tar.gz"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_of_torch_save_under_any_name(tmp_path, name, legacy):
    torch.save(P, tmp_path / name, _use_new_zipfile_serialization=not legacy)
    (found,) = read_prompts(tmp_path / name).values()
    same(found)


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        (torch.nn.Parameter(P), "p"),
        (P[None], "p"),
        (P.T.contiguous().T, "p"),
        ({"prompt": P, "step": 3}, "prompt"),
        (torch.nn.Embedding.from_pretrained(P).state_dict(), "weight"),
        ({"state_dict": {"soft.weight": P, "soft.bias": torch.ones(4)}, "epoch": 1, "lr": 0.3}, "state_dict.soft.weight"),
        ({"model": {"soft": P}, "optimizer": {"state": {0: {"exp_avg": P}}, "param_groups": []}}, "model.soft"),
        ([P], "0"),
        ({"P": P, "positions": torch.arange(6).reshape(2, 3)}, "P"),
    ],
)  # fmt: skip
def test_the_only_matrix_of_what_was_saved(tmp_path, saved, name):
    torch.save(saved, tmp_path / "p.pt")
    (found,) = read_prompts(tmp_path / "p.pt").items()
    assert found[0] == name
    same(found[1])
    same(read_prompt(tmp_path / "p.pt"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_number(tmp_path, kind):
    torch.save(P.to(kind), tmp_path / "p.pt")
    save_file({"p": P.to(kind)}, tmp_path / "p.safetensors")
    for name in ("p.pt", "p.safetensors"):
        found = read_prompt(tmp_path / name)
        assert found.dtype == (np.float64 if kind.itemsize == 8 else np.float32)
        np.testing.assert_array_equal(found, P.to(kind).double().numpy())


def test_several_matrices_are_named_and_can_be_chosen(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"soft": P, "head": {"weight": P + 1}, "bias": torch.ones(4)}, path)
    refused(
        path,
        f"'{path}' holds several prompts: soft (3, 4), head.weight (3, 4); save one of them, or choose one by name:",
    )
    same(read_prompt(f"{path}:soft"))
    same(read_prompt(f"{path}:head.weight"), P + 1)
    assert list(read_prompts(f"{path}:*")) == ["soft", "head.weight"]
    refused(f"{path}:hed.weight", f"unknown matrix of '{path}' 'hed.weight'; did you mean 'head.weight'?")
    np.savez(tmp_path / "two.npz", a=P.numpy(), b=P.numpy() + 1)
    refused(tmp_path / "two.npz", "holds several prompts: a (3, 4), b (3, 4)")
    same(read_prompt(tmp_path / "two.npz:b"), P + 1)
    save_file({"a": P, "b": P + 1}, tmp_path / "two.safetensors")
    refused(tmp_path / "two.safetensors", "holds several prompts: a (3, 4), b (3, 4)")
    assert list(read_prompts(f"{tmp_path / 'two.safetensors'}:*")) == ["a", "b"]


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (torch.ones(2, 3, 4), "(2, 3, 4); expected a matrix (n, d) of finite numbers; save one of its 2 matrices"),
        (torch.ones(5), "(5,); expected a matrix (n, d) of finite numbers"),
        ({"a": torch.ones(5)}, "no matrix in '"),
        (P.to_sparse(), "expected a dense tensor"),
        (P.to(torch.complex64), "expected a matrix (n, d) of finite numbers"),
        (P > 0, "expected a matrix (n, d) of finite numbers"),
        (P / 0, "holds NaN or infinite entries"),
        ({}, "no matrix in '"),
        (3, "is int; expected a matrix (n, d) of finite numbers"),
    ],
)  # fmt: skip
def test_what_is_no_prompt(tmp_path, saved, message):
    torch.save(saved, tmp_path / "p.pt")
    refused(tmp_path / "p.pt", message)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04rubbish", b"\x93NUMPY\x01"]
)
def test_other_files(tmp_path, content):
    (tmp_path / "p.pt").write_bytes(content)
    refused(tmp_path / "p.pt", "p.pt'")


def adapter(folder, config, **tensors):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"num_virtual_tokens": 3, **config}))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING", "CPT"])
@pytest.mark.parametrize("named", ["", "adapter_config.json", "adapter_model.safetensors"])
def test_adapters_by_folder_config_or_weights(tmp_path, kind, named):
    folder = adapter(tmp_path / "a", {"peft_type": kind, "token_dim": 4}, prompt_embeddings=P)
    found = read_prompts(folder / named)
    assert list(found) == ["prompt"]
    same(found["prompt"])


@pytest.mark.parametrize("below", ["mine", "checkpoint-500", "out/checkpoint-500"])
def test_an_adapter_in_a_folder_of_the_folder_that_was_named(tmp_path, below):
    adapter(tmp_path / below, {"peft_type": "PROMPT_TUNING"}, prompt_embeddings=P)
    same(read_prompt(tmp_path))
    adapter(tmp_path / "other", {"peft_type": "PROMPT_TUNING"}, prompt_embeddings=P)
    if "/" not in below:
        refused(tmp_path, f"holds several adapters ({', '.join(sorted([below, 'other']))}); choose one")


def test_two_prompts_of_a_p_tuned_encoder_decoder(tmp_path):
    config = {"peft_type": "P_TUNING", "task_type": "SEQ_2_SEQ_LM"}
    found = read_prompts(adapter(tmp_path / "a", config, prompt_embeddings=torch.cat([P, P + 1])))
    same(found["encoder"])
    same(found["decoder"], P + 1)


def test_adapters_that_are_no_prompts(tmp_path):
    prefix = adapter(tmp_path / "prefix", {"peft_type": "PREFIX_TUNING"}, prompt_embeddings=torch.ones(3, 16))
    refused(prefix, "is of type PREFIX_TUNING; expected one of")
    refused(prefix, "it holds keys and values of the layers")
    refused(adapter(tmp_path / "lora", {"peft_type": "LORA"}, a=P), "is of type LORA; expected one of")
    other = {"peft_type": "P_TUNING", "token_dim": 5}
    refused(
        adapter(tmp_path / "width", other, prompt_embeddings=P), "a prompt of width 4, and token_dim is 5"
    )


def test_what_peft_saves_of_p_tuning(tmp_path):
    import peft
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_embd=8, n_layer=1, n_head=1, vocab_size=11, n_positions=32, bos_token_id=1, eos_token_id=1
    )
    model = GPT2LMHeadModel(config)
    about = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3}
    tuned = peft.get_peft_model(model, peft.PromptEncoderConfig(**about, encoder_hidden_size=8), "mine")
    tuned.eval()
    expected = tuned.get_prompt_embedding_to_save("mine").detach().float()
    tuned.save_pretrained(tmp_path)
    assert (tmp_path / "mine" / "adapter_config.json").is_file()
    same(read_prompt(tmp_path), expected)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:7\nsize 15\n"


@pytest.mark.parametrize("name", ["p.npy", "p.pt", "p", "p.safetensors"])
def test_pointers_of_git_lfs(tmp_path, name):
    write_atomically(tmp_path / name, POINTER)
    refused(tmp_path / name, f"'{tmp_path / name}' is a Git LFS pointer; run git lfs pull")


def test_a_prompt_of_torch_save_as_a_start(tmp_path):
    from conftest import quick

    torch.save({"soft": torch.ones(8, 128)}, tmp_path / "start.ckpt")
    start = {"init": "saved", "init_from": str(tmp_path / "start.ckpt")}
    run = rp.train(quick(method="vanilla", steps=1, **start), runs_dir=tmp_path)
    np.testing.assert_array_equal(run.prompt("P0"), 1)


def test_titles_tell_files_of_one_name_apart(tmp_path, capsys, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        torch.save(P, tmp_path / folder / "p.pt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["analyze", "*/p.pt", str(tmp_path / "one" / "p.pt")])
    assert not stop.value.code
    lines = capsys.readouterr().out.splitlines()
    assert len({line.split(" P ")[0].strip() for line in lines if " P " in line}) >= 2


def test_real_prompts_in_one_call(capsys):
    files = sorted((SHARED / "prompts" / "thunlp").glob("*.pt"))
    if not files:
        pytest.skip(f"the prompts are not at {SHARED}")
    with pytest.raises(SystemExit) as stop:
        main(["analyze", *map(str, files)])
    assert not stop.value.code
    told = capsys.readouterr().out
    assert all(told.count(f"{path.stem} ") >= 2 for path in files)  # P and P_rows
    assert len(files) == 34
