"""Prompts are exported to other tools, such as PEFT, and imported from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quick
from safetensors.torch import save_file

import rankprobe as rp
from rankprobe.backbone import PromptInput, TextBatch, decode, label_logits, load_backbone
from rankprobe.backbone.load import load_tokenizer
from rankprobe.bundled import FOLDER
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.export import export_run
from rankprobe.runs import exchange, read_prompt, read_prompts, write_prompt

P = np.random.default_rng(0).standard_normal((5, 128)).astype(np.float32)
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # PEFT's


@pytest.mark.parametrize("kind", ["npy", "safetensors", "peft"])
def test_what_is_written_is_read(tmp_path, kind):
    place = {"npy": "p.npy", "safetensors": "p.safetensors", "peft": "adapter"}[kind]
    path = write_prompt(P, tmp_path / "new" / place, kind, model="t5-base", causal=False)
    np.testing.assert_array_equal(read_prompt(path), P)
    assert len(list(path.parent.iterdir())) == 1  # no temporary file is left
    with pytest.raises(RankprobeError, match="exists; choose another place"):
        write_prompt(P, path, kind, model="t5-base", causal=False)
    with pytest.raises(RankprobeError, match="unknown format 'pefd'; did you mean 'peft'"):
        write_prompt(P, tmp_path / "x", "pefd", model="t5-base", causal=False)


@pytest.fixture
def saved_model():
    """A model folder that PEFT can load too."""
    return FOLDER / "tiny"


def test_peft_loads_an_exported_run(tmp_path, saved_model):
    import peft
    from transformers import AutoModelForSeq2SeqLM

    config = quick(model=str(saved_model), dtype="float64", method="dpt", steps=20)
    run = rp.train(config, runs_dir=tmp_path)
    export_run(run, tmp_path / "adapter", "peft", which="final")
    model = AutoModelForSeq2SeqLM.from_pretrained(saved_model, dtype=torch.float64)
    theirs = peft.PeftModel.from_pretrained(model, tmp_path / "adapter").eval()
    pieces = load_tokenizer("tiny")(
        ["premise: Did Nora forget that Hugo sold the lamp?", "hypothesis: Nora"], padding=True
    )
    ids = torch.tensor(pieces.input_ids)
    batch = TextBatch([2], [ids.shape[1]], [2], ids, ids.ne(0).long(), torch.tensor([[5, 6], [7, 1]]))
    backbone = load_backbone(str(saved_model), dtype="float64")
    soft = PromptInput(torch.from_numpy(run.prompt().astype(np.float32)))
    logits = theirs(input_ids=ids, attention_mask=batch.attention_mask, labels=batch.labels).logits
    torch.testing.assert_close(label_logits(backbone, [soft], batch), logits, rtol=1e-9, atol=1e-9)
    tokens = theirs.generate(
        input_ids=ids, attention_mask=batch.attention_mask, max_new_tokens=4, do_sample=False
    )
    texts = [text.strip() for text in backbone.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    assert decode(backbone, [soft], batch, 4) == [texts]
    assert all(texts)


def test_pefts_two_prompts_are_kept_apart(tmp_path, saved_model):
    """By default, PEFT trains and saves a second prompt for the decoder of an encoder-decoder."""
    import peft
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(saved_model)
    wrapped = peft.get_peft_model(
        model, peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=5)
    )
    wrapped.save_pretrained(tmp_path / "adapter")
    found = read_prompts(tmp_path / "adapter")
    both = wrapped.prompt_encoder["default"].embedding.weight.detach().numpy()
    assert list(found) == ["encoder", "decoder"]
    np.testing.assert_array_equal(np.concatenate(list(found.values())), both)
    assert read_prompt(tmp_path / "adapter").shape == (5, 128)


@pytest.mark.parametrize("parts", [[""], ["_encoder", "_decoder"]], ids=["encoder", "both"])
def test_multitask_adapters_give_prompts_per_task(tmp_path, saved_model, parts):
    import peft
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(saved_model)
    config = peft.MultitaskPromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, num_tasks=3, num_transformer_submodules=len(parts)
    )
    wrapped = peft.get_peft_model(model, config)
    encoder = wrapped.prompt_encoder["default"]
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    wrapped.save_pretrained(tmp_path / "adapter")
    found = read_prompts(tmp_path / "adapter")
    assert list(found) == [f"task{task}{part}" for task in range(3) for part in parts]
    for task in range(3):
        theirs = encoder(torch.arange(4 * len(parts))[None], torch.tensor([task]))[0].detach()
        ours = np.concatenate([found[f"task{task}{part}"] for part in parts])
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_other_adapters_are_refused_in_a_line(tmp_path, saved_model, kind):
    import peft
    from transformers import AutoModelForSeq2SeqLM

    config = {
        "lora": peft.LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q"]),
        "prefix": peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3),
    }[kind]
    model = AutoModelForSeq2SeqLM.from_pretrained(saved_model)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    name = {"lora": "LORA", "prefix": "PREFIX_TUNING"}[kind]
    with pytest.raises(RankprobeError, match=f"is of type {name}; expected one of PROMPT_TUNING") as error:
        read_prompts(tmp_path / "adapter")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["MLP", "LSTM"])
def test_p_tuning_gives_what_its_network_gives(tmp_path, saved_model, kind):
    import peft
    from transformers import AutoModelForSeq2SeqLM

    config = peft.PromptEncoderConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=3,
        encoder_hidden_size=24,
        encoder_reparameterization_type=kind,
    )
    wrapped = peft.get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(saved_model), config).eval()
    wrapped.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        both = wrapped.prompt_encoder["default"](torch.arange(6))
    found = read_prompts(tmp_path / "adapter")
    assert list(found) == ["encoder", "decoder"]
    np.testing.assert_allclose(np.concatenate(list(found.values())), both, rtol=1e-5, atol=1e-6)


def test_cpt_gives_its_words_and_what_it_learned(tmp_path):
    import peft
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    config = peft.CPTConfig(
        task_type="CAUSAL_LM", cpt_token_ids=[5, 6, 7], cpt_mask=[1] * 3, cpt_tokens_type_mask=[1, 2, 3]
    )
    wrapped = peft.get_peft_model(model, config)
    encoder = wrapped.prompt_encoder["default"]
    with torch.no_grad():
        encoder.delta_embedding.weight.normal_(std=0.01)
        wrapped.save_pretrained(tmp_path / "adapter")
        expected = encoder(torch.arange(3))
        assert not torch.allclose(expected, encoder.embedding.weight, atol=1e-4)
    # PEFT scales the trained part again each time, so the last digits differ.
    np.testing.assert_allclose(read_prompt(tmp_path / "adapter"), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_by_any_of_its_names(tmp_path, weights):
    """Only the config shows that 2n rows are two prompts; it is found whichever file is named."""
    both = torch.from_numpy(np.concatenate([P, 2 * P]))
    folder = adapter(tmp_path / "out", {"prompt_embeddings": both}, weights)
    for place in (folder, folder / "adapter_config.json", folder / weights, f"{folder}/", tmp_path):
        assert list(read_prompts(place)) == ["encoder", "decoder"]
    np.testing.assert_array_equal(read_prompt(f"{folder}:decoder"), 2 * P)
    cache = tmp_path / "blobs"
    cache.mkdir()
    (folder / weights).rename(cache / "0123")
    (folder / weights).symlink_to(cache / "0123")
    assert list(read_prompts(folder / weights)) == ["encoder", "decoder"]


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING", "CPT"])
def test_every_type_of_adapter_by_any_of_its_names(tmp_path, kind):
    weights = {"prompt_embeddings": torch.from_numpy(P)}
    folder = adapter(tmp_path / "out", weights, peft_type=kind, token_dim=128)
    for place in (folder, folder / "adapter_config.json", folder / "adapter_model.safetensors"):
        found = read_prompts(place)
        assert list(found) == ["prompt"]
        np.testing.assert_array_equal(found["prompt"], P)


def test_the_weights_that_are_named_are_read(tmp_path):
    folder = adapter(tmp_path / "out", {"prompt_embeddings": torch.from_numpy(P)})
    torch.save({"prompt_embeddings": torch.from_numpy(2 * P)}, folder / "adapter_model.bin")
    np.testing.assert_array_equal(read_prompt(folder), P)
    np.testing.assert_array_equal(read_prompt(folder / "adapter_model.bin"), 2 * P)


def test_weights_without_a_config(tmp_path):
    save_file({"prompt_embeddings": torch.from_numpy(P)}, tmp_path / "adapter_model.safetensors")
    np.testing.assert_array_equal(read_prompt(tmp_path / "adapter_model.safetensors"), P)


@pytest.mark.parametrize("below", ["second", "checkpoint-500", "snapshots/0123"])
def test_an_adapter_below_the_folder_that_is_named(tmp_path, below):
    (tmp_path / below).parent.mkdir(exist_ok=True)
    adapter(tmp_path / below, {"prompt_embeddings": torch.from_numpy(P)})
    np.testing.assert_array_equal(read_prompt(tmp_path), P)


def test_p_tuning_of_a_decoder_under_another_name(tmp_path):
    """PEFT saves an adapter that is not the default one in a subfolder; a decoder-only model has one prompt."""
    import peft
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    config = peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8)
    wrapped = peft.get_peft_model(model, config, "mine").eval()
    wrapped.save_pretrained(tmp_path)
    assert (tmp_path / "mine" / "adapter_config.json").is_file()
    expected = wrapped.get_prompt_embedding_to_save("mine").detach().float()
    np.testing.assert_array_equal(read_prompt(tmp_path), expected)


def test_adapters_that_peft_saves_together(tmp_path, saved_model):
    """PEFT saves the default adapter in the folder itself, and others in subfolders."""
    import peft
    from transformers import AutoModelForSeq2SeqLM

    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, num_transformer_submodules=1
    )
    wrapped = peft.get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(saved_model), config)
    wrapped.add_adapter("other", config)
    wrapped.add_adapter("third", config)
    wrapped.save_pretrained(tmp_path / "out")
    for name, place in (("default", "."), ("other", "other"), ("third", "third")):
        expected = wrapped.prompt_encoder[name].embedding.weight.detach()
        np.testing.assert_array_equal(read_prompt(tmp_path / "out" / place), expected)
    (tmp_path / "out" / "adapter_config.json").unlink()
    with pytest.raises(
        RankprobeError, match=r"several adapters \(other, third\); choose one, such as '.*/other'"
    ):
        read_prompts(tmp_path / "out")


def test_a_cached_adapter_by_its_hub_id(tmp_path, monkeypatch):
    from huggingface_hub import constants

    snapshots = tmp_path / "models--someone--prompt"
    (snapshots / "refs").mkdir(parents=True)
    (snapshots / "refs" / "main").write_text("0123")
    (snapshots / "snapshots").mkdir()
    adapter(snapshots / "snapshots" / "0123", {"prompt_embeddings": torch.from_numpy(P)})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    np.testing.assert_array_equal(read_prompt("someone/prompt"), P)
    with pytest.raises(RankprobeError, match="no prompt at 'someone/else'"):
        read_prompt("someone/else")


def test_the_width_of_an_adapter(tmp_path):
    right = {"prompt_embeddings": torch.from_numpy(P)}
    assert read_prompt(adapter(tmp_path / "right", right, peft_type="P_TUNING", token_dim=128)).shape == (
        5,
        128,
    )
    wrong = adapter(tmp_path / "wrong", right, peft_type="P_TUNING", token_dim=64)
    with pytest.raises(RankprobeError, match="has a prompt of width 128, and token_dim is 64"):
        read_prompts(wrong)


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "CARTRIDGE"])
def test_keys_and_values_are_no_prompt_tokens(tmp_path, kind):
    place = adapter(tmp_path / "x", {"prompt_embeddings": torch.from_numpy(P)}, peft_type=kind)
    with pytest.raises(RankprobeError, match=rf"of type {kind}; .*: it holds keys and values of the layers"):
        read_prompts(place)


@pytest.mark.parametrize(
    ("place", "others"), [("p:soft", {"other": torch.ones(2, 3)}), ("start.ckpt", {})], ids=["named", "only"]
)
def test_a_matrix_in_a_file_is_where_a_run_starts(tmp_path, monkeypatch, place, others):
    """Also after a change of the working directory, because the path is saved as an absolute path."""
    monkeypatch.chdir(tmp_path)
    soft = np.random.default_rng(1).standard_normal((8, 128)).astype(np.float32)
    torch.save({"soft": torch.from_numpy(soft)[None], **others}, tmp_path / place.removesuffix(":soft"))
    config = quick(method="vanilla", steps=1, init="saved", init_from=place)
    assert config.method.init_from == f"{tmp_path}/{place}"
    monkeypatch.chdir("/")
    run = rp.train(config, runs_dir=tmp_path / "runs")
    np.testing.assert_array_equal(run.prompt("P0"), soft)


def test_the_file_of_a_name_with_a_colon_is_kept_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "tf.npz", **{"soft:0": P})
    config = quick(method="vanilla", init="saved", init_from="tf.npz:soft:0")
    assert config.method.init_from == f"{tmp_path}/tf.npz:soft:0"


def test_a_link_to_weights_stays_a_link(tmp_path):
    """The config of an adapter is next to the link, not next to the linked file."""
    (tmp_path / "blob").write_bytes(b"")
    (tmp_path / "adapter_model.bin").symlink_to(tmp_path / "blob")
    config = quick(method="vanilla", init="saved", init_from=str(tmp_path / "adapter_model.bin"))
    assert config.method.init_from == str(tmp_path / "adapter_model.bin")


def adapter(folder, weights, name="adapter_model.safetensors", **config):
    folder.mkdir()
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, **config}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if name.endswith(".bin"):
        torch.save(weights, folder / name)
    else:
        save_file(weights, folder / name)
    return folder


def test_bin_files_hold_tensors_only(tmp_path):
    weights = {"prompt_embeddings": torch.from_numpy(P).bfloat16()}
    found = read_prompt(adapter(tmp_path / "good", weights, "adapter_model.bin"))
    np.testing.assert_array_equal(found, weights["prompt_embeddings"].float().numpy())
    bad = adapter(tmp_path / "bad", {"prompt_embeddings": Path("x")}, "adapter_model.bin")
    with pytest.raises(RankprobeError, match=r"adapter_model.bin' cannot be read \(Weights only load failed"):
        read_prompts(bad)


def test_half_precision_files(tmp_path):
    save_file({"a": torch.ones(3, 4, dtype=torch.bfloat16), "b": torch.ones(7)}, tmp_path / "p.safetensors")
    found = read_prompts(tmp_path / "p.safetensors")
    assert list(found) == ["a"]
    assert found["a"].dtype == np.float32


def test_places_without_a_prompt(tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\x00")
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "vector.npy", np.ones(3))
    np.save(tmp_path / "nan.npy", np.full((2, 2), np.nan))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    save_file({"v": torch.ones(3)}, tmp_path / "none.safetensors")
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "empty.npy", np.ones((0, 4)))
    np.save(tmp_path / "complex.npy", np.ones((2, 2), dtype=complex))
    odd = adapter(tmp_path / "odd", {"prompt_embeddings": torch.ones(7, 4)})
    empty = adapter(tmp_path / "empty", {"other": torch.ones(5, 4)})
    tasks = adapter(
        tmp_path / "tasks", {"prompt_embeddings": torch.ones(5, 4)}, peft_type="MULTITASK_PROMPT_TUNING"
    )
    sizeless = adapter(
        tmp_path / "sizeless", {"prompt_embeddings": torch.ones(5, 4)}, num_virtual_tokens=None
    )
    tensor = adapter(tmp_path / "tensor", torch.ones(5, 4), "adapter_model.bin")
    for place, message in (
        (
            "nothing",
            "no prompt at '.*nothing'; expected a run folder, a .npy, .npz or .safetensors file, a file of torch.save, or a PEFT adapter",
        ),
        ("torn.safetensors", "cannot be read"),
        ("torn.npy", "cannot be read"),
        ("pickle.npy", "cannot be read"),
        ("vector.npy", r"is float64 \(3,\); expected a matrix"),
        ("text.npy", r"is <U1 \(1, 2\); expected a matrix"),
        ("empty.npy", r"is float64 \(0, 4\); expected a matrix"),
        ("complex.npy", r"is complex128 \(2, 2\); expected a matrix"),
        ("nan.npy", "holds NaN or infinite entries"),
        ("none.safetensors", "no matrix in"),
        (odd.name, "has 7 prompt rows, and num_virtual_tokens is 5; expected 5 or 10 rows"),
        (empty.name, "no prompt_embeddings in"),
        (tasks.name, "no prefix_task_cols in"),
        (sizeless.name, "no num_virtual_tokens in"),
        (tensor.name, "no prompt_embeddings in"),
    ):
        with pytest.raises(RankprobeError, match=message):
            read_prompts(tmp_path / place)


def test_other_byte_orders_and_widths(tmp_path):
    np.save(tmp_path / "big.npy", P.astype(">f4"))
    found = read_prompt(tmp_path / "big.npy")
    np.testing.assert_array_equal(torch.from_numpy(found), P)
    np.save(tmp_path / "wide.npy", P.astype(np.float64))
    assert read_prompt(tmp_path / "wide.npy").dtype == np.float64


def test_of_several_matrices_none_is_guessed(tmp_path):
    save_file({"a": torch.ones(3, 4), "b": torch.zeros(3, 4)}, tmp_path / "two.safetensors")
    with pytest.raises(
        RankprobeError, match=r"holds several prompts: a \(3, 4\), b \(3, 4\); save one of them"
    ):
        read_prompt(tmp_path / "two.safetensors")
    run = rp.train(quick(steps=2), runs_dir=tmp_path)
    for place in (run.path, run.path / "prompt.safetensors"):
        np.testing.assert_array_equal(read_prompt(place), run.prompt("final"))
    (run.path / "prompt.safetensors").write_bytes(b"torn")
    with pytest.raises(RankprobeError, match="prompt.safetensors cannot be read"):
        read_prompts(run.path)


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exchange, "save_file", full)
    for _ in range(2):
        with pytest.raises(RankprobeError, match="adapter' cannot be written .*No space left"):
            write_prompt(P, tmp_path / "adapter", "peft", model="t5-base", causal=False)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RankprobeError, match=r"does not end in .npy; choose another name"):
        write_prompt(P, tmp_path / "p", "npy", model="t5-base", causal=False)


def test_runs_of_more_than_a_prompt_are_not_exported(tmp_path):
    run = rp.train(quick(method="dept", steps=2), runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match=r"trained more than a prompt \(dept\)"):
        export_run(run, tmp_path / "x", "npy")
