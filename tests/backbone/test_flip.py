"""The gradient with signs is Σ εᵢ gᵢ over the texts, and nothing else changes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_splice import prompts, text_batch

from rankprobe.backbone import Flip, PromptInput, load_backbone, losses
from rankprobe.backbone.load import load_tokenizer
from rankprobe.backbone.score import TextBatch

SIGNS = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)


@pytest.fixture(scope="module", params=["T5", "GPT-2, prompt read once", "GPT-2, prompt read per text"])
def backbone(request, tmp_path_factory):
    if request.param == "T5":
        return load_backbone("random:tiny", dtype="float64")
    from transformers import AutoModelForCausalLM, GPT2Config

    folder, tokenizer = tmp_path_factory.mktemp("gpt2"), load_tokenizer("tiny")
    special = {f"{name}_token_id": tokenizer.eos_token_id for name in ("bos", "eos")}
    size = {"vocab_size": len(tokenizer), "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(GPT2Config(**size, **special)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    loaded = load_backbone(str(folder), dtype="float64")
    assert loaded.prompt_once
    return dataclasses.replace(loaded, prompt_once="once" in request.param)


def row(batch, i):
    parts = (batch.input_ids[i : i + 1], batch.attention_mask[i : i + 1], batch.labels[i : i + 1])
    return TextBatch([1], batch.source_lengths[:1], batch.target_lengths[:1], *parts)


def gradient_of_row(backbone, P, batch, i, rows):
    """Of row i's share of the mean over the label tokens of `rows`."""
    leaf, tokens = P.clone().requires_grad_(), (batch.labels != -100).sum(1)
    (loss,) = losses(backbone, [PromptInput(leaf)], row(batch, i))
    (gradient,) = torch.autograd.grad(loss, [leaf])
    return gradient * tokens[i] / tokens[rows].sum()


def test_the_copy_gets_the_sum_with_signs_and_the_prompt_its_own_gradient(backbone):
    """Three members: the first and the last have a copy, the second has none."""
    batch, (P, Q, R) = text_batch((3, 2, 1)), prompts(backbone, 3)
    plain = [each.clone().requires_grad_() for each in (P, Q, R)]
    expected = losses(backbone, [PromptInput(each) for each in plain], batch)
    torch.stack(expected).sum().backward()

    leaves = [each.clone().requires_grad_() for each in (P, Q, R)]
    copies = [each.detach().clone().requires_grad_() for each in (P, R)]
    found = losses(
        backbone,
        [
            PromptInput(leaves[0], flip=Flip(copies[0], SIGNS)),
            PromptInput(leaves[1]),
            PromptInput(leaves[2], flip=Flip(copies[1], -SIGNS[:1])),
        ],
        batch,
    )
    torch.stack(found).sum().backward()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    for leaf, each in zip(leaves, plain, strict=True):
        torch.testing.assert_close(leaf.grad, each.grad, rtol=0, atol=1e-9)
    own = [gradient_of_row(backbone, P, batch, i, slice(0, 3)) for i in range(3)]
    torch.testing.assert_close(plain[0].grad, sum(own), rtol=0, atol=1e-9)
    signed = torch.einsum("r,rnd->nd", SIGNS, torch.stack(own))
    torch.testing.assert_close(copies[0].grad, signed, rtol=0, atol=1e-9)
    torch.testing.assert_close(copies[1].grad, -plain[2].grad, rtol=0, atol=1e-9)
    assert float((copies[0].grad - plain[0].grad).abs().max()) > 1e-4
