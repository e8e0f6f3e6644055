"""Prompts in files of numpy, safetensors and torch are read by their content, under any name."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rankprobe.errors import RankprobeError
from rankprobe.runs import read_prompt, read_prompts

P = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
T = torch.from_numpy(P)
FLOATS = (
    "float16",
    "bfloat16",
    "float64",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
)
INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "uint16")


def checkpoint():
    """The checkpoint of a trainer: the prompt, other weights, and an optimizer with two matrices of its shape."""
    model = nn.Module()
    model.soft = nn.Embedding(5, 8, _weight=T.clone())
    optimizer = torch.optim.AdamW(model.parameters())
    model.soft.weight.sum().backward()
    optimizer.step()
    model.soft.weight.data = T.clone()
    return model.state_dict(), optimizer.state_dict()


STATE, OPTIMIZER = checkpoint()
SAVED = {
    "tensor": (T, "p"),
    "parameter": (nn.Parameter(T), "p"),
    "batch": (T[None], "p"),
    "batches": (T[None, None], "p"),
    "transposed": (T.T.contiguous().T, "p"),
    "state": (STATE, "soft.weight"),
    "layer": (nn.Embedding.from_pretrained(T).state_dict(), "weight"),
    "number": ({"prompt": T, "step": 3}, "prompt"),
    "batched state": ({"soft": T[None], "bias": torch.ones(8)}, "soft"),
    "scalars": (OrderedDict(step=torch.tensor(3), prompt=T, ids=torch.arange(5), note="x"), "prompt"),
    "positions": ({"soft": T, "positions": torch.arange(5)[None]}, "soft"),
    "matrix of positions": ({"P": T, "positions": torch.arange(6).reshape(2, 3)}, "P"),
    "list": ([T], "0"),
    "nested": ({"model": {"soft": T}, "epoch": 3, "shape": T.shape, "dtype": T.dtype}, "model.soft"),
    "optimizer": ({"model": STATE, "optimizer": OPTIMIZER}, "model.soft.weight"),
    "lightning": (
        {
            "state_dict": {**STATE, "soft.bias": T[0]},
            "optimizer_states": [OPTIMIZER],
            "lr_schedulers": [{"base_lrs": [0.3]}],
        },
        "state_dict.soft.weight",
    ),
    "integers": ({"ids": torch.arange(40).reshape(5, 8)}, "ids"),
}


@pytest.mark.parametrize("kind", SAVED)
def test_what_torch_saves_is_read(tmp_path, kind):
    saved, name = SAVED[kind]
    torch.save(saved, tmp_path / "p")
    found = read_prompts(tmp_path / "p")
    assert list(found) == [name]
    expected = P if kind != "integers" else np.arange(40).reshape(5, 8)
    np.testing.assert_array_equal(found[name], expected)
    np.testing.assert_array_equal(read_prompt(tmp_path / "p"), expected)


NAMES = ("p", "p.pt", "p.pth", "p.bin", "p.ckpt", "p.v1", "p.npy", "p.safetensors", "p.tar.gz")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("old", [False, True])
def test_the_name_of_a_file_says_nothing(tmp_path, name, old):
    torch.save(T, tmp_path / name, _use_new_zipfile_serialization=not old)
    for place in (tmp_path / name, str(tmp_path / name)):
        (found,) = read_prompts(place).values()
        np.testing.assert_array_equal(found, P)
        np.testing.assert_array_equal(read_prompt(place), P)


def test_numpy_and_safetensors_under_other_names(tmp_path):
    with (tmp_path / "array").open("wb") as file:
        np.save(file, P)
    np.savez_compressed(tmp_path / "arrays.npz", prompt=P[None], loss=np.ones(3))
    save_file({"x": T[None]}, tmp_path / "weights.pt")
    for name in ("array", "arrays.npz", "weights.pt"):
        np.testing.assert_array_equal(read_prompt(tmp_path / name), P)


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
def test_every_dtype(tmp_path, name):
    dtype = getattr(torch, name)
    tensor = (T * 8).abs().to(dtype)
    torch.save(tensor, tmp_path / "p.pt")
    save_file({"p": tensor}, tmp_path / "p.safetensors")
    expected = tensor.double().numpy()
    for file in ("p.pt", "p.safetensors"):
        found = read_prompt(tmp_path / file)
        assert found.dtype == (np.float64 if dtype.itemsize == 8 else np.float32)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:.*(beta state|prototype stage|are deprecated|ComplexHalf)")
def test_tensors_that_are_no_matrix_of_numbers(tmp_path):
    for saved, message in (
        (T.bool(), r"is bool \(5, 8\); expected a matrix"),
        (T.to(torch.complex64), r"is complex64 \(5, 8\); expected a matrix"),
        (T.to(torch.complex32), "cannot be read"),
        (torch.full((2, 3), torch.nan), "holds NaN or infinite entries"),
        (T / 0, "holds NaN or infinite entries"),
        (T[0], r"is float32 \(8,\); expected a matrix"),
        (
            torch.ones(3, 5, 8),
            r"is float32 \(3, 5, 8\); expected a matrix \(n, d\) of finite numbers; save one of its 3 matrices",
        ),
        (T.untyped_storage(), "is TypedStorage; expected a matrix"),
        (torch.ones(0, 8), r"is float32 \(0, 8\); expected a matrix"),
        (T.to_sparse(), "it is a tensor of layout torch.sparse_coo; expected a dense tensor"),
        (
            torch.quantize_per_tensor(T, 0.1, 0, torch.qint8),
            "it is a quantized tensor; expected a dense tensor",
        ),
        (torch.empty(5, 8, device="meta"), "it is a meta tensor; expected a dense tensor"),
        (3, "is int; expected a matrix"),
        ({}, "no matrix in '.*p'; expected a soft prompt"),
        ({"epoch": 3}, "no matrix in '.*p'; expected a soft prompt"),
        ({"bias": T[0]}, r"no matrix in '.*p'; expected a soft prompt \(n, d\), but found bias \(8,\)"),
        ({"stack": torch.ones(3, 5, 8)}, r"expected a soft prompt \(n, d\), but found stack \(3, 5, 8\)"),
    ):
        torch.save(saved, tmp_path / "p")
        with pytest.raises(RankprobeError, match=message) as error:
            read_prompts(tmp_path / "p")
        assert "\n" not in str(error.value)


def test_void_arrays_are_refused(tmp_path):
    """numpy stores bfloat16 as void."""
    np.save(tmp_path / "p.npy", np.zeros((5, 8), dtype="V2"))
    with pytest.raises(RankprobeError, match=r"is \|V2 \(5, 8\); expected a matrix"):
        read_prompts(tmp_path / "p.npy")


def test_pickles_of_more_than_tensors_are_refused(tmp_path):
    torch.save(nn.Embedding(5, 8), tmp_path / "module")
    torch.save({"p": P}, tmp_path / "array")
    (tmp_path / "pickle").write_bytes(pickle.dumps(P, protocol=2))
    for name in ("module", "array", "pickle"):
        with pytest.raises(RankprobeError, match="holds more than tensors.*; save the prompt alone"):
            read_prompts(tmp_path / name)
    torch.save(T, tmp_path / "protocol", pickle_protocol=4)
    with pytest.raises(RankprobeError, match="pickled by another protocol than 2"):
        read_prompts(tmp_path / "protocol")
    torch.save({"p": T}, tmp_path / "third", pickle_protocol=3)
    np.testing.assert_array_equal(read_prompt(tmp_path / "third"), P)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(3, 4)), tmp_path / "p.pt")
    with pytest.raises(RankprobeError, match="is a TorchScript archive, which holds code"):
        read_prompts(tmp_path / "p.pt")


def test_containers_in_themselves_end(tmp_path):
    saved = [T]
    saved.append(saved)
    torch.save(saved, tmp_path / "p")
    np.testing.assert_array_equal(read_prompt(tmp_path / "p"), P)


def test_damaged_files_are_refused(tmp_path):
    torch.save(T, tmp_path / "zip")
    torch.save(T, tmp_path / "old", _use_new_zipfile_serialization=False)
    np.savez_compressed(tmp_path / "npz", p=P)
    (tmp_path / "npz.npz").rename(tmp_path / "npz")
    for name in ("zip", "old", "npz"):
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(raw[:-100])
        with pytest.raises(RankprobeError, match="cannot be read"):
            read_prompts(tmp_path / name)
    (tmp_path / "text.pt").write_text("a prompt")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("text.pt", "empty.pt"):
        with pytest.raises(RankprobeError, match="no prompt at .*, a file of torch.save, or a PEFT adapter"):
            read_prompts(tmp_path / name)
    for content in (b"\x80\x02}q\x00.", b"PK\x03\x04rubbish", b"\x93NUMPY\x01"):
        (tmp_path / "p.pt").write_bytes(content)
        with pytest.raises(RankprobeError, match=r"p.pt' cannot be read \(.*\)$") as error:
            read_prompts(tmp_path / "p.pt")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["p", "p.pt", "p.npy", "p.safetensors"])
def test_pointers_of_git_lfs_are_refused(tmp_path, name):
    place = tmp_path / name
    place.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:7\nsize 15\n")
    message = f"'{place}' is a Git LFS pointer; run git lfs pull"
    with pytest.raises(RankprobeError, match=re.escape(message)) as error:
        read_prompts(place)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["p.pt", "nested.pt", "p.safetensors", "p.npz"])
def test_of_several_matrices_one_is_named(tmp_path, name):
    place = tmp_path / name
    saved = {"soft.a": T, "soft.b": T * 2, "bias": torch.ones(8), "stack": torch.ones(2, 5, 8)}
    if name == "p.safetensors":
        save_file(saved, place)
    elif name == "p.npz":
        np.savez(place, **{key: tensor.numpy() for key, tensor in saved.items()})
    else:
        nested = {"soft": {"a": T, "b": T * 2}, "bias": saved["bias"], "stack": saved["stack"]}
        torch.save(nested if name == "nested.pt" else saved, place)
    message = (
        f"'{place}' holds several prompts: soft.a (5, 8), soft.b (5, 8); save one of them, or choose one by "
        f"name: '{place}:soft.a'"
    )
    for read in (read_prompt, read_prompts):
        with pytest.raises(RankprobeError, match=f"^{re.escape(message)}$"):
            read(place)
    np.testing.assert_array_equal(read_prompt(f"{place}:soft.a"), P)
    np.testing.assert_array_equal(read_prompt(f"{place}:soft.b"), P * 2)
    assert list(read_prompts(f"{place}:soft.*")) == list(read_prompts(f"{place}:*")) == ["soft.a", "soft.b"]
    message = f"unknown matrix of '{place}' 'soft.bb'; did you mean 'soft.b'? (valid: soft.a, soft.b)"
    with pytest.raises(RankprobeError, match=f"^{re.escape(message)}$"):
        read_prompts(f"{place}:soft.bb")
    with pytest.raises(RankprobeError, match=r"'bias' in .* is float32 \(8,\); expected a matrix"):
        read_prompts(f"{place}:bias")


def test_the_names_of_a_whole_model_are_cut_short(tmp_path):
    torch.save({f"layer{number}": T for number in range(100)}, tmp_path / "model.bin")
    with pytest.raises(RankprobeError, match=r"layer11 \(5, 8\), 88 more; save one"):
        read_prompts(tmp_path / "model.bin")


def test_the_names_that_rankprobe_gives_come_first(tmp_path):
    torch.save({"prompt": T, "head": T * 2}, tmp_path / "p.pt")
    assert list(read_prompts(tmp_path / "p.pt")) == ["prompt"]
    torch.save({"encoder": T, "decoder": T * 2}, tmp_path / "p.pt")
    np.testing.assert_array_equal(read_prompt(tmp_path / "p.pt"), P)


def test_colons_in_the_names_of_files_and_matrices(tmp_path):
    torch.save(T, tmp_path / "a:b.pt")
    np.testing.assert_array_equal(read_prompt(tmp_path / "a:b.pt"), P)
    np.savez(tmp_path / "c:d.npz", **{"soft:0": P, "bias:0": P + 1})
    place = f"{tmp_path}/c:d.npz"
    np.testing.assert_array_equal(read_prompt(f"{place}:soft:0"), P)
    np.testing.assert_array_equal(read_prompt(f"{place}:b*:0"), P + 1)


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(T, tmp_path / "p.pt")
    np.testing.assert_array_equal(read_prompt("~/p.pt"), P)
