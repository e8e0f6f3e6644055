"""Decoder-only models behind the same interface: GPT-2's absolute positions and Llama's rotary ones."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import quick
from test_splice import prompts, text_batch

import rankprobe as rp
from rankprobe.backbone import (
    PromptInput,
    decode,
    label_logits,
    likeliest,
    load_backbone,
    losses,
    recomputing,
)
from rankprobe.backbone.causal import padded_left
from rankprobe.backbone.load import load_tokenizer
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.evaluate import evaluate_runs

TOLERANCE = 1e-6
"""Llama normalises and rotates in float32, whatever its weights are."""


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    """A small random model with our own tokenizer, as a user would save one."""
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

    tokenizer = load_tokenizer("tiny")
    special = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = {
        "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=512, **special),
        "llama": LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            attention_dropout=0.1,
            **special,
        ),
    }[request.param]
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def causal64(folder):
    return load_backbone(str(folder), dtype="float64")


def row_by_row(backbone, P, batch, row):
    """Logits of one row's answer, without any padding."""
    source = batch.input_ids[row][batch.attention_mask[row].bool()]
    answer = batch.labels[row][batch.labels[row] >= 0]
    embed = backbone.model.get_input_embeddings()
    whole = torch.cat([P, embed(torch.cat([source, answer]))])[None]
    logits = backbone.model(inputs_embeds=whole).logits[0]
    return logits[len(P) + len(source) - 1 : -1]


def test_logits_of_answers_equal_those_without_padding(causal64):
    batch, (first, second) = text_batch((2, 3)), prompts(causal64, 2)
    logits = label_logits(causal64, [PromptInput(first), PromptInput(second)], batch)
    for row, P in enumerate([first] * 2 + [second] * 3):
        alone = row_by_row(causal64, P, batch, row)
        torch.testing.assert_close(logits[row, : len(alone)], alone, rtol=0, atol=TOLERANCE)


def test_logits_of_answers_from_a_model_that_cannot_keep_a_few(causal64, monkeypatch):
    batch, (P,) = text_batch((3,)), prompts(causal64)
    causal64 = dataclasses.replace(causal64, prompt_once=False)
    kept = label_logits(causal64, [PromptInput(P)], batch)
    forward = causal64.model.forward

    def keeping_all(inputs_embeds, attention_mask, use_cache):
        return forward(inputs_embeds=inputs_embeds, attention_mask=attention_mask, use_cache=use_cache)

    monkeypatch.setattr(causal64.model, "forward", keeping_all)
    torch.testing.assert_close(label_logits(causal64, [PromptInput(P)], batch), kept, rtol=0, atol=TOLERANCE)


def test_a_prompt_that_is_read_once_gives_what_one_read_per_text_gives(causal64):
    """Losses and gradients in float64, of two members with unequal rows, one of them with a shift."""
    assert causal64.prompt_once
    assert causal64.padding_after_prompt
    batch, pair = text_batch((2, 3)), prompts(causal64, 2)
    shift = torch.randn(2, causal64.d_model, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def losses_and_gradients(backbone):
        leaves = [each.clone().requires_grad_() for each in (*pair, shift)]
        inputs = [PromptInput(leaves[0]), PromptInput(leaves[1], leaves[2])]
        found = losses(backbone, inputs, batch)
        return [each.detach() for each in (*found, *torch.autograd.grad(torch.stack(found).sum(), leaves))]

    each_time = dataclasses.replace(causal64, prompt_once=False)
    for found, expected in zip(*map(losses_and_gradients, (causal64, each_time)), strict=True):
        # Llama normalises in float32, so its rounding depends on the number of rows.
        tolerance = TOLERANCE if "Llama" in type(causal64.model).__name__ else 1e-9
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def test_a_cohort_reads_each_prompt_once_per_step(causal64, monkeypatch):
    """The model computes K prompts and R texts, not R prompts."""
    batch, pair, sizes = text_batch((2, 3)), prompts(causal64, 2), []
    decoder = causal64.model.base_model
    forward = decoder.forward

    def counting(*args, inputs_embeds, **kwargs):
        sizes.append(tuple(inputs_embeds.shape[:2]))
        return forward(*args, inputs_embeds=inputs_embeds, **kwargs)

    monkeypatch.setattr(decoder, "forward", counting)
    losses(causal64, [PromptInput(P) for P in pair], batch)
    width = batch.input_ids.shape[1] + batch.labels.shape[1]
    assert sizes == [(2, len(pair[0])), (5, width)]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's
def test_logits_equal_pefts(folder):
    import peft
    from transformers import AutoModelForCausalLM

    backbone = load_backbone(str(folder), dtype="float64")
    (P,), batch = prompts(backbone), text_batch((1,))
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(P))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    wrapped = peft.get_peft_model(model, config).eval()
    wrapped.prompt_encoder["default"].embedding.weight = torch.nn.Parameter(P)
    answer = batch.labels[:, batch.labels[0] >= 0]
    ids = torch.cat([batch.input_ids[:, batch.attention_mask[0].bool()], answer], dim=1)
    theirs = wrapped(input_ids=ids).logits[:, -answer.shape[1] - 1 : -1]
    ours = label_logits(backbone, [PromptInput(P)], batch)[:, : answer.shape[1]]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's
@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")  # PEFT's
def test_peft_generates_what_an_exported_run_does(folder, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    run = rp.train(quick(model=str(folder), method="vanilla", dtype="float64"), runs_dir=tmp_path)
    rp.export_run(run, tmp_path / "adapter", "peft", which="final")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    theirs = peft.PeftModel.from_pretrained(model, tmp_path / "adapter").eval()
    backbone, batch = load_backbone(str(folder), dtype="float64"), text_batch((1,))
    ids = batch.input_ids[:, batch.attention_mask[0].bool()]
    tokens = theirs.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False, pad_token_id=0
    )
    text = backbone.tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True).strip()
    soft = PromptInput(torch.from_numpy(run.prompt().astype(np.float32)))
    assert decode(backbone, [soft], batch, 4) == [[text]]


def test_greedy_answers_are_argmax_step_by_step(causal64):
    """With left padding and a cache inside; here row by row, without either."""
    batch, (first, second) = text_batch((2, 2)), prompts(causal64, 2)
    answers = decode(causal64, [PromptInput(first), PromptInput(second)], batch, 4)
    embed, eos = causal64.model.get_input_embeddings(), causal64.tokenizer.eos_token_id
    expected = []
    for row, P in enumerate([first, first, second, second]):
        state = torch.cat([P, embed(batch.input_ids[row][batch.attention_mask[row].bool()])])
        tokens = []
        for _ in range(4):
            tokens.append(int(causal64.model(inputs_embeds=state[None]).logits[0, -1].argmax()))
            state = torch.cat([state, embed(torch.tensor(tokens[-1:]))])
        kept = tokens[: tokens.index(eos)] if eos in tokens else tokens
        expected.append(causal64.tokenizer.decode(kept, skip_special_tokens=True).strip())
    assert answers == [expected[:2], expected[2:]]
    assert len(set(expected)) > 1


def test_padding_moves_to_the_left():
    embeds = torch.arange(1.0, 9).reshape(2, 4, 1)
    moved, mask = padded_left(embeds, torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]))
    assert mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert moved[..., 0].tolist()[0][2:] == [1, 2]
    assert moved[..., 0].tolist()[1] == [5, 6, 7, 8]


def test_the_likeliest_answer(causal64):
    batch, (P,) = text_batch((3,)), prompts(causal64)
    candidates = [[[40, 1], [41, 42, 1]], [[50, 1]], [[60, 61, 1], [62, 1], [63, 1]]]
    found = likeliest(causal64, [PromptInput(P)], batch, candidates)
    for row, each in enumerate(candidates):
        scores = []
        for answer in each:
            labels = torch.full((3, 3), -100)
            labels[row, : len(answer)] = torch.tensor(answer)
            one = dataclasses.replace(batch, labels=labels)
            logits = row_by_row(causal64, P, one, row)
            scores.append(-torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
        assert found[row] == int(torch.stack(scores).argmax())


def test_a_members_loss_moves_only_its_own_prompt(causal64):
    batch, (first, second) = text_batch((2, 2)), prompts(causal64, 2)
    first.requires_grad_()
    second.requires_grad_()
    losses(causal64, [PromptInput(first), PromptInput(second)], batch)[0].backward()
    assert first.grad.any()
    assert second.grad is None or not second.grad.any()


def test_texts_stay_open_and_answers_end(causal64):
    eos = causal64.tokenizer.eos_token_id
    (source,), (answer,) = causal64.source_ids(["premise: Nora"]), causal64.answer_ids(["0"])
    assert eos not in source
    assert answer[-1] == eos
    assert causal64.tokenizer.decode(answer, skip_special_tokens=True).strip() == "0"


@pytest.mark.parametrize("method", ["probe", "dept", "finetune"])
def test_runs_train_and_are_used(folder, tmp_path, method):
    rate = 3e-3 if method == "finetune" else 0.3
    config = quick(model=str(folder), method=method, steps=60, learning_rate=rate)
    run = rp.train(config, runs_dir=tmp_path)
    losses = run.log("steps")["loss"].dropna()
    assert losses.iloc[-3:].mean() < losses.iloc[:3].mean() - 0.01
    found = evaluate_runs([run], which="final")
    assert found["value"].tolist() == run.log("evals").query("step == 60")["value"].tolist()


def test_a_cohort_with_dropout_equals_its_members(folder, tmp_path):
    configs = [quick(model=str(folder), dtype="float64", dropout=True, seed=s) for s in (1, 2)]
    together = rp.train_cohort(configs, runs_dir=tmp_path / "together")
    for config, run in zip(configs, together, strict=True):
        alone = rp.train(config, runs_dir=tmp_path / "alone")
        np.testing.assert_allclose(run.prompt(), alone.prompt(), rtol=1e-9, atol=1e-12)


def test_a_tokenizer_without_padding_gets_some(tmp_path):
    tokenizer = load_tokenizer("tiny")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)).pad_token_id == tokenizer.eos_token_id


def saved(folder, config, tokenizer=None):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    (tokenizer or load_tokenizer("tiny")).save_pretrained(folder)
    return str(folder)


def test_encoders_are_no_decoders(tmp_path):
    from transformers import RobertaConfig

    config = RobertaConfig(
        vocab_size=900, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    with pytest.raises(RankprobeError, match="RobertaForCausalLM.*attends to later tokens"):
        load_backbone(saved(tmp_path, config))


def test_recomputing_wakes_no_dropout(tmp_path):
    """OPT's blocks drop out by their own training flag."""
    from transformers import OPTConfig

    config = OPTConfig(
        vocab_size=900, hidden_size=32, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2, dropout=0.5,
        word_embed_proj_dim=32,
    )  # fmt: skip
    backbone = load_backbone(saved(tmp_path, config), dtype="float64")
    backbone = dataclasses.replace(backbone, prompt_once=False)  # as `training_mode` yields it
    batch, (P,) = text_batch(), prompts(backbone)
    gradients = []
    for context in (contextlib.nullcontext(), recomputing(backbone.model)):
        leaf = P.clone().requires_grad_()
        with context:
            losses(backbone, [PromptInput(leaf)], batch)[0].backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_habits_of_a_models_own_generation_are_left_out(folder, tmp_path):
    """Answers end with the piece that was taught, and repeating oneself is not punished."""
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    habits = json.loads(path.read_text()) | {"eos_token_id": 7, "repetition_penalty": 9.0, "min_length": 50}
    path.write_text(json.dumps(habits))
    plain, odd = (load_backbone(str(place), dtype="float64") for place in (folder, tmp_path / "model"))
    batch, (P,) = text_batch((4,)), prompts(plain)
    assert decode(odd, [PromptInput(P)], batch, 6) == decode(plain, [PromptInput(P)], batch, 6)


def test_answers_have_limits_of_their_own(causal64):
    batch, (P,) = text_batch((2, 2)), prompts(causal64)
    twice = [PromptInput(P), PromptInput(P)]
    long, short = (decode(causal64, twice, batch, limit) for limit in (5, 2))
    assert decode(causal64, twice, batch, [5, 2]) == [long[0], short[1]]
    assert long != short
