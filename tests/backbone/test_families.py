"""Many architectures: each trains and decodes as its own code says, or is refused in one line."""

from __future__ import annotations

import dataclasses
import inspect
import json
from functools import cache

import pytest
import torch
from conftest import quick
from families import (
    FAMILIES,
    ROOT_D,
    Refused,
    Works,
    bart,
    from_config,
    gpt,
    llama,
    loaded,
    network,
    saved,
    special,
    t5,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig

import rankprobe as rp
from rankprobe.backbone import (
    Backbone,
    PromptInput,
    TextBatch,
    check_fits,
    decode,
    label_logits,
    likeliest,
    load_backbone,
    losses,
)
from rankprobe.backbone.check import examined
from rankprobe.backbone.load import prepared
from rankprobe.data.init_sources import init_sources
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.evaluate import evaluate_runs
from rankprobe.prompts import config_class

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

WORKING = [name for name, each in FAMILIES.items() if isinstance(each, Works)]
REFUSED = [name for name, each in FAMILIES.items() if isinstance(each, Refused)]
PROMPT = [40, 41, 42, 43]
TEXTS = [[50, 60, 70], list(range(80, 97)), [100, 110, 120, 130, 140, 150, 160, 170]]
ANSWERS = [[30, 31, 1], [32, 33, 1], [34, 35, 1]]


@cache
def backbone_of(name: str) -> Backbone:
    return loaded(name)


def batch_of(rows: list[int]) -> TextBatch:
    """These texts in one batch, padded on the right with a real token."""
    longest = max(len(TEXTS[row]) for row in rows)
    ids = torch.tensor([TEXTS[row] + [7] * (longest - len(TEXTS[row])) for row in rows])
    mask = torch.tensor([[1] * len(TEXTS[row]) + [0] * (longest - len(TEXTS[row])) for row in rows])
    return TextBatch([len(rows)], [longest], [3], ids, mask, torch.tensor([ANSWERS[row] for row in rows]))


def word_prompt(backbone: Backbone) -> PromptInput:
    """A prompt of words, as `--init text` starts from."""
    return PromptInput(backbone.embed_words(PROMPT))


@torch.no_grad()
def logits_of_ids(backbone: Backbone, row: int, answer: list[int]) -> torch.Tensor:
    """Logits of an answer by the model's own code from token ids: the prompt's words, then the text."""
    ids, labels = torch.tensor([PROMPT + TEXTS[row]]), torch.tensor([answer])
    if not backbone.causal:
        return backbone.model(input_ids=ids, labels=labels).logits[0]
    logits = backbone.model(input_ids=torch.cat([ids, labels], dim=1)).logits[0]
    return logits[ids.shape[1] - 1 : -1]


def test_the_table_is_wide():
    assert len(WORKING) >= 50
    assert len(REFUSED) >= 5
    assert {FAMILIES[name].decoding for name in WORKING} == {"padded", "grouped", "uncached"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_takes_no_soft_prompt_is_refused(name):
    with pytest.raises(RankprobeError, match=FAMILIES[name].because) as error:
        loaded(name)
    assert str(error.value).startswith(f"model '{name}' (")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", WORKING)
def test_a_prompt_of_words_gives_the_logits_of_their_ids(name):
    backbone = backbone_of(name)
    assert backbone.embed_scale == pytest.approx(FAMILIES[name].scale)
    assert backbone.decoding == FAMILIES[name].decoding
    with torch.no_grad():
        found = label_logits(backbone, [word_prompt(backbone)], batch_of([0, 1, 2]))
    for row in range(3):
        expected = logits_of_ids(backbone, row, ANSWERS[row])
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", WORKING)
def test_answers_are_the_likeliest_tokens_and_those_of_single_rows(name):
    backbone, limit, end = backbone_of(name), 4, 1
    soft = word_prompt(backbone)
    together = decode(backbone, [soft], batch_of([0, 1, 2]), limit)[0]
    assert together == [decode(backbone, [soft], batch_of([row]), limit)[0][0] for row in range(3)]
    for row in range(3):
        answer: list[int] = []
        while len(answer) < limit and end not in answer:
            answer.append(int(logits_of_ids(backbone, row, [*answer, end])[len(answer)].argmax()))
        assert together[row] == backbone.tokenizer.decode(answer, skip_special_tokens=True).strip()


def test_rows_of_a_recurrent_model_are_not_padded_together():
    """RWKV ignores the mask. Padding would change some answers of these prompts; groups change none."""
    backbone = backbone_of("Rwkv")
    padded, changed = dataclasses.replace(backbone, decoding="padded"), 0
    for seed in range(5):
        soft = PromptInput(torch.randn(4, backbone.d_model, generator=torch.Generator().manual_seed(seed)))
        alone = [decode(backbone, [soft], batch_of([row]), 4)[0][0] for row in range(3)]
        assert decode(backbone, [soft], batch_of([0, 1, 2]), 4)[0] == alone
        changed += decode(padded, [soft], batch_of([0, 1, 2]), 4)[0] != alone
    assert changed


@pytest.mark.parametrize("name", WORKING)
def test_a_batch_trains_and_ranks_as_single_rows_do(name):
    backbone = backbone_of(name)

    def gradient(rows: list[int]) -> torch.Tensor:
        P = word_prompt(backbone).P.requires_grad_()
        (loss,) = losses(backbone, [PromptInput(P)], batch_of(rows))
        return torch.autograd.grad(loss, P)[0]

    together, alone = gradient([0, 1, 2]), torch.stack([gradient([row]) for row in range(3)]).mean(0)
    assert together.abs().max() > 0
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-4 * float(alone.abs().max()))
    candidates = [[[30, 31, 1], [40, 1]], [[50, 1], [51, 52, 1], [53, 1]], [[60, 1], [61, 1]]]
    soft = word_prompt(backbone)
    assert likeliest(backbone, [soft], batch_of([0, 1, 2]), candidates) == [
        likeliest(backbone, [soft], batch_of([row]), [candidates[row]])[0] for row in range(3)
    ]


READ_EACH_TIME = {"OpenAIGPT", "RobertaAsDecoder"}
"""Decoder-only models that cannot continue from a cache."""

RECURRENT = {"Mamba", "Mamba2", "Rwkv", "RecurrentGemma", "Bamba", "Jamba", "Lfm2"}


@pytest.mark.parametrize("name", [name for name in WORKING if backbone_of(name).causal])
def test_a_prompt_that_is_read_once_gives_the_losses_and_gradients_of_one_read_per_text(name):
    backbone = backbone_of(name)
    each_time = dataclasses.replace(backbone, prompt_once=False, padding_after_prompt=False)
    assert backbone.prompt_once == (name not in READ_EACH_TIME | RECURRENT)
    batch = dataclasses.replace(batch_of([0, 1, 2, 1]), rows=[1, 3])

    def losses_and_gradients(model: Backbone) -> list[torch.Tensor]:
        P, Q = (word_prompt(model).P.roll(k, 0).requires_grad_() for k in (0, 1))
        found = losses(model, [PromptInput(P), PromptInput(Q)], batch)
        return [*found, *torch.autograd.grad(torch.stack(found).sum(), [P, Q])]

    for found, expected in zip(*map(losses_and_gradients, (backbone, each_time)), strict=True):
        found, expected = found.detach(), expected.detach()
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-4 * float(expected.abs().max()))


def test_a_decoder_that_scales_its_ids_outside_the_embedding_module(monkeypatch):
    """Prompt, text and answers all need the scale; no decoder of transformers is so, hence a made one."""
    plain = backbone_of("Llama")
    forward, table = plain.model.forward, plain.model.get_input_embeddings()

    def scaling(*args, input_ids=None, **kwargs):
        if input_ids is not None:
            kwargs["inputs_embeds"] = ROOT_D * table(input_ids)
        return forward(*args, **kwargs)

    scaling.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(plain.model, "forward", scaling)
    backbone = examined(plain)
    assert backbone.embed_scale == pytest.approx(ROOT_D)
    with torch.no_grad():
        found = label_logits(backbone, [word_prompt(backbone)], batch_of([0, 1, 2]))
    for row in range(3):
        expected = logits_of_ids(backbone, row, ANSWERS[row])
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("method", ["vanilla", "finetune"])
@pytest.mark.parametrize(
    ("name", "factor"),
    [("Marian", ROOT_D), ("MBart", ROOT_D), ("Gemma", ROOT_D), ("GPT2", 1), ("Granite", 1)],
)
def test_words_are_what_the_model_embeds_them_as(name, factor, method):
    backbone = backbone_of(name)
    stored = backbone.embedding.detach() * factor
    torch.testing.assert_close(backbone.vocabulary(), stored[backbone.piece_ids])
    config = config_class(method).parse({"name": method})
    found = init_sources(config, backbone, ["the dog", "a"])
    ids = [backbone.tokenizer(text, add_special_tokens=False).input_ids for text in ("the dog", "a")]
    torch.testing.assert_close(found.labels, torch.stack([stored[each].mean(0) for each in ids]))
    if method == "vanilla":
        torch.testing.assert_close(found.vocabulary, stored[backbone.piece_ids[: config.init_vocab_size]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["Pegasus", "Llama", "Roberta", "Gemma3nText"])
def test_checks_decide_alike_in_other_types_of_weights(name, dtype):
    if name in REFUSED:
        with pytest.raises(RankprobeError, match=FAMILIES[name].because):
            loaded(name, dtype)
    else:
        assert loaded(name, dtype).embed_scale == pytest.approx(FAMILIES[name].scale)


@pytest.mark.parametrize("decoder", [True, False])
def test_initial_weights_in_bfloat16_do_not_hide_an_encoder(decoder):
    """A token hardly changes the others there; the gradient is not zero all the same."""
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, is_decoder=decoder,
        **special(),
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").bfloat16()
    backbone = dataclasses.replace(backbone_of("BertAsDecoder"), model=model)
    if decoder:
        assert prepared(backbone).causal
    else:
        with pytest.raises(RankprobeError, match="attends to later tokens"):
            prepared(backbone)


def test_damaged_weights_are_refused():
    damaged = network(FAMILIES["Llama"].config())
    with torch.no_grad():
        damaged.lm_head.weight[5] = torch.nan
    with pytest.raises(RankprobeError, match="gives logits that are not numbers; its weights may be damaged"):
        prepared(dataclasses.replace(backbone_of("Llama"), model=damaged))


def test_a_start_token_that_only_the_settings_for_generation_have(tmp_path):
    folder = saved(bart("Bart", decoder_start_token_id=None), tmp_path)
    with pytest.raises(RankprobeError, match="set decoder_start_token_id in its config.json"):
        load_backbone(folder)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decoder_start_token_id": 2}))
    assert load_backbone(folder).model.config.decoder_start_token_id == 2


# Settings of a run, and models that are loaded from a folder.


@pytest.mark.parametrize("name", ["Pegasus", "Gemma2", "Gemma3 with vision", "Qwen3Moe", "Mamba", "M2M100"])
def test_a_run_on_a_saved_model(name, tmp_path):
    folder = saved(FAMILIES[name].config(), tmp_path / "model")
    words = {"init": "text", "init_text": "the man ran home", "prompt_length": 4}
    config = quick(model=folder, method="vanilla", scoring="both", steps=2, eval_every=2, **words)
    run = rp.train(config, runs_dir=tmp_path / "runs")
    assert run.status == "finished"
    backbone = load_backbone(folder)
    ids = backbone.tokenizer(words["init_text"], add_special_tokens=False).input_ids[:4]
    fed = backbone.model.get_input_embeddings()(torch.tensor(ids)) * FAMILIES[name].scale
    torch.testing.assert_close(torch.from_numpy(run.prompt("P0")), fed[:4])
    found = evaluate_runs([run], which="final")
    assert found["value"].tolist() == run.log("evals").query("step == 2")["value"].tolist()


@pytest.mark.parametrize("name", ["Gemma4Text", "FSMT", "Bart without a start"])
def test_a_refused_model_writes_nothing(name, tmp_path):
    folder = saved(FAMILIES[name].config(), tmp_path / "model")
    with pytest.raises(RankprobeError, match=FAMILIES[name].because):
        rp.train(quick(model=folder, method="vanilla"), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_model_that_ignores_the_prompt_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("rankprobe.backbone.score.torch.equal", lambda *_: True)
    with pytest.raises(RankprobeError, match="gives the same logits with and without the prompt"):
        rp.train(quick(), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_model_that_cannot_decode_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise NotImplementedError("no cache of this kind\nand more")

    monkeypatch.setattr("rankprobe.backbone.score.greedy", broken)
    message = r"cannot decode answers \(no cache of this kind\); give --scoring rank$"
    with pytest.raises(RankprobeError, match=message):
        rp.train(quick(), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert rp.train(quick(scoring="rank", steps=1), runs_dir=tmp_path / "runs").status == "finished"


def test_a_model_that_cannot_rank_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise NotImplementedError("no encoder")

    monkeypatch.setattr("rankprobe.data.checks.likeliest", broken)
    with pytest.raises(RankprobeError, match=r"cannot rank answers \(no encoder\); give --scoring greedy$"):
        rp.train(quick(scoring="both"), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_model_that_cannot_recompute_is_refused_before_anything_is_written(tmp_path):
    folder = saved(FAMILIES["CTRL"].config(), tmp_path / "model")
    with pytest.raises(RankprobeError, match="cannot recompute; leave out --gradient-checkpointing"):
        rp.train(quick(model=folder, gradient_checkpointing=True), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_way_of_decoding_that_fails_is_not_taken(monkeypatch):
    """Neither one that raises nor one with other logits: the last one needs nothing but a forward pass."""
    backbone = backbone_of("Llama")
    forward = backbone.model.forward

    def forgetful(*args, **kwargs):
        if kwargs.get("past_key_values") is not None:
            kwargs["past_key_values"].crop(1)
        return forward(*args, **kwargs)

    forgetful.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(backbone.model, "forward", forgetful)
    assert examined(backbone).decoding == "uncached"

    def without_cache(*args, **kwargs):
        if kwargs["use_cache"]:
            raise RuntimeError("no cache")
        return forward(*args, **kwargs)

    without_cache.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(backbone.model, "forward", without_cache)
    assert examined(backbone).decoding == "uncached"


SHORT = {
    "GPT2": lambda: gpt("GPT2", n_positions=24),
    "OPT": lambda: family("OPT", max_position_embeddings=24),
    "Bart": lambda: bart("Bart", max_position_embeddings=24),
    "Pegasus": lambda: bart("Pegasus", max_position_embeddings=24),
    "LED": lambda: bart(
        "LED", max_encoder_position_embeddings=24, max_decoder_position_embeddings=16, attention_window=8
    ),
}


def family(name, **changed):
    config = FAMILIES[name].config()
    for key, value in changed.items():
        setattr(config, key, value)
    return config


@pytest.mark.parametrize("name", SHORT)
def test_positions_of_a_table_are_counted(name):
    backbone = from_config(SHORT[name]())
    answer = 2 if not backbone.causal else 4
    check_fits(backbone, 5, 24 - 5 - (answer if backbone.causal else 0), answer)
    takes = "the longest text with its answer 20" if backbone.causal else "the longest text 20"
    with pytest.raises(
        RankprobeError, match=f"has 24 positions, and the prompt takes 5, {takes}; give a smaller"
    ):
        check_fits(backbone, 5, 20 - (answer if backbone.causal else 0), answer)


def test_positions_of_answers_are_counted():
    backbone = from_config(SHORT["LED"]())
    check_fits(backbone, 5, 10, 16)
    with pytest.raises(
        RankprobeError, match="has 16 positions for an answer, and the longest answer takes 17"
    ):
        check_fits(backbone, 5, 10, 17)


@pytest.mark.parametrize("kind", ["GPTJ", "CTRL"])
def test_positions_that_are_no_embedding_table(kind):
    own = {"GPTJ": {"rotary_dim": 8}, "CTRL": {"dff": 48}}[kind]
    backbone = from_config(gpt(kind, n_positions=24, **own))
    check_fits(backbone, 5, 15, 4)
    with pytest.raises(
        RankprobeError, match="fails with a prompt of 5 tokens, a text of 16 and an answer of 4 "
    ):
        check_fits(backbone, 5, 16, 4)


@pytest.mark.parametrize(
    "config",
    [
        lambda: t5("T5", n_positions=24),
        lambda: llama("Llama", max_position_embeddings=24),
        lambda: bart("M2M100", max_position_embeddings=24),
        lambda: family("XGLM", max_position_embeddings=24),
        lambda: family("Rwkv", context_length=24),
    ],
)
def test_a_number_in_a_config_that_bounds_nothing_refuses_nothing(config):
    backbone = from_config(config())
    check_fits(backbone, 30, 100, 4)
    (loss,) = losses(backbone, [PromptInput(torch.randn(30, backbone.d_model))], batch_of([0, 1]))
    assert torch.isfinite(loss)


def test_a_text_that_is_too_long_for_an_encoder_writes_nothing(tmp_path):
    folder = saved(SHORT["LED"](), tmp_path / "model")
    with pytest.raises(RankprobeError, match="has 24 positions, and the prompt takes 8, the longest text "):
        rp.train(quick(model=folder), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# Models that are saved in 4 or 8 bit.


@pytest.mark.parametrize("how", ["bitsandbytes", "gptq", "awq", "nonsense"])
def test_weights_in_few_bits_are_refused_at_load(tmp_path, how):
    folder = saved(llama("Llama"), tmp_path / "model")
    note(tmp_path / "model", {"quant_method": how, "load_in_4bit": True, "bits": 4})
    with pytest.raises(RankprobeError) as error:
        rp.train(quick(model=folder), runs_dir=tmp_path / "runs")
    assert str(error.value) == (
        f"model '{folder}' is saved in 4 or 8 bit ({how}), and a soft prompt needs weights in floating point; give "
        "the model that it was made from, or save it again after model.dequantize()"
    )
    assert not (tmp_path / "runs").exists()


def note(folder, quantization):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))


def test_weights_in_8_bit_floating_point_are_read_as_plain_ones(tmp_path):
    """One scale for each block of 128 × 128, as in DeepSeek-V3."""
    saved(llama("Llama"), tmp_path)
    weights, expected = load_file(tmp_path / "model.safetensors"), {}
    for name, weight in list(weights.items()):
        if "_proj" in name:
            scale = weight.abs().max() / 448
            weights[name] = (weight / scale).to(torch.float8_e4m3fn)
            weights[f"{name}_scale_inv"] = scale.reshape(1, 1)
            expected[name] = weights[name].float() * scale
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    note(tmp_path, {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"})
    found = load_backbone(str(tmp_path)).model.state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight)


def test_a_model_that_needs_a_missing_package_is_refused(tmp_path, monkeypatch):
    folder = saved(gpt("GPT2"), tmp_path / "model")

    def missing(*_, **__):
        raise ImportError("GPT2 requires the some library but it was not found")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", missing)
    with pytest.raises(
        RankprobeError, match="can load \\(GPT2 requires the some library but it was not found"
    ):
        load_backbone(folder)
