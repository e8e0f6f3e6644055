"""A prompt reaches the model where it should, and nothing else does."""

from __future__ import annotations

import contextlib
import dataclasses
import types

import pytest
import torch

from rankprobe.backbone import (
    PromptInput,
    check_prompt_matters,
    decode,
    label_logits,
    load_backbone,
    losses,
    recomputing,
    splice,
)
from rankprobe.backbone.score import TextBatch
from rankprobe.errors import RankprobeError


def text_batch(rows=(3,), vocabulary=500, seed=0) -> TextBatch:
    """Random rows of different lengths, member after member."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 12, (sum(rows),), generator=g)
    width = int(lengths.max())
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.randint(3, vocabulary, mask.shape, generator=g) * mask
    labels = torch.randint(3, vocabulary, (sum(rows), 2), generator=g)
    labels[::2, 1] = -100
    return TextBatch(list(rows), [width] * len(rows), [2] * len(rows), ids, mask, labels)


def prompts(backbone, count=1, n=5, seed=1):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, backbone.d_model, generator=g, dtype=backbone.prompt_dtype) for _ in range(count)]


def test_splice_puts_each_members_prompt_before_its_own_rows(backbone64):
    batch, (first, second) = text_batch((2, 1)), prompts(backbone64, 2)
    embeds, mask, _ = splice(
        backbone64,
        [PromptInput(first), PromptInput(second)],
        batch.rows,
        batch.input_ids,
        batch.attention_mask,
    )
    assert torch.equal(embeds[:2, :5], first.expand(2, -1, -1))
    assert torch.equal(embeds[2, :5], second)
    assert torch.equal(embeds[:, 5:], backbone64.embedding[batch.input_ids])
    assert torch.equal(mask, torch.cat([torch.ones(3, 5, dtype=torch.long), batch.attention_mask], 1))


@pytest.mark.parametrize("positions", [3, 200])
def test_a_shift_moves_the_text_of_its_member_alone(backbone64, positions):
    batch, (first, second) = text_batch((2, 1)), prompts(backbone64, 2)
    (shift,) = prompts(backbone64, n=positions, seed=2)
    prompt_inputs = [PromptInput(first, shift), PromptInput(second)]
    embeds, mask, _ = splice(backbone64, prompt_inputs, batch.rows, batch.input_ids, batch.attention_mask)
    plain, same, _ = splice(
        backbone64,
        [PromptInput(first), PromptInput(second)],
        batch.rows,
        batch.input_ids,
        batch.attention_mask,
    )
    covered = min(positions, batch.input_ids.shape[1])
    assert torch.equal(mask, same)
    assert torch.equal(embeds[2], plain[2])
    assert torch.equal(embeds[:2, :5], plain[:2, :5])
    assert torch.equal(embeds[:2, 5 : 5 + covered], plain[:2, 5 : 5 + covered] + shift[:covered])
    assert torch.equal(embeds[:2, 5 + covered :], plain[:2, 5 + covered :])


def test_recomputing_gives_the_same_gradients_and_leaves_no_trace(backbone64):
    from transformers.modeling_layers import GradientCheckpointingLayer

    calls = []
    blocks = [m for m in backbone64.model.modules() if isinstance(m, GradientCheckpointingLayer)]
    handles = [block.layer[0].register_forward_hook(lambda *_: calls.append(1)) for block in blocks]
    batch, (P,) = text_batch(), prompts(backbone64)
    gradients, counts = [], []
    for context in (contextlib.nullcontext(), recomputing(backbone64.model)):
        calls.clear()
        leaf = P.clone().requires_grad_()
        with context:
            losses(backbone64, [PromptInput(leaf)], batch)[0].backward()
        gradients.append(leaf.grad)
        counts.append(len(calls))
    for handle in handles:
        handle.remove()
    assert torch.equal(*gradients)
    assert counts == [len(blocks), 2 * len(blocks)]
    assert not any(module.training for module in backbone64.model.modules())


def test_an_empty_prompt_is_no_prompt(backbone64):
    batch = text_batch()
    empty = [PromptInput(P) for P in prompts(backbone64, n=0)]
    plain = backbone64.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        labels=batch.labels,
    )
    torch.testing.assert_close(label_logits(backbone64, empty, batch), plain.logits)
    torch.testing.assert_close(losses(backbone64, empty, batch)[0], plain.loss)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's
def test_logits_equal_pefts_encoder_side_prompt():
    """PEFT's default for T5 has a second, decoder-side prompt; one transformer submodule is Lester's."""
    import peft

    backbone64 = load_backbone("random:tiny", dtype="float64")  # its own: PEFT changes what it wraps
    (P,) = prompts(backbone64)
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=len(P), num_transformer_submodules=1
    )
    batch = text_batch()
    ours = label_logits(backbone64, [PromptInput(P)], batch)
    wrapped = peft.get_peft_model(backbone64.model, config).eval()
    embedding = wrapped.prompt_encoder["default"].embedding
    embedding.weight = torch.nn.Parameter(P)
    theirs = wrapped(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(ours, label_logits(backbone64, [PromptInput(P + 0.1)], batch))


def test_a_members_loss_moves_only_its_own_prompt(backbone64):
    batch, (first, second) = text_batch((2, 2)), prompts(backbone64, 2)
    first.requires_grad_()
    second.requires_grad_()
    losses(backbone64, [PromptInput(first), PromptInput(second)], batch)[0].backward()
    assert first.grad.any()
    assert second.grad is None or not second.grad.any()
    assert all(p.grad is None for p in backbone64.model.parameters())


def test_padding_does_not_change_a_row(backbone64):
    batch, (P,) = text_batch(), prompts(backbone64)
    longer = dataclasses.replace(
        batch,
        input_ids=torch.nn.functional.pad(batch.input_ids, (0, 7)),
        attention_mask=torch.nn.functional.pad(batch.attention_mask, (0, 7)),
    )
    torch.testing.assert_close(
        label_logits(backbone64, [PromptInput(P)], batch),
        label_logits(backbone64, [PromptInput(P)], longer),
        rtol=1e-10,
        atol=1e-10,
    )


def test_greedy_answers_are_argmax_step_by_step(backbone64):
    batch, (first, second) = text_batch((2, 2)), prompts(backbone64, 2)
    answers = decode(backbone64, [PromptInput(first), PromptInput(second)], batch, 3)
    model, eos = backbone64.model, backbone64.tokenizer.eos_token_id
    embeds, mask, _ = splice(
        backbone64,
        [PromptInput(first), PromptInput(second)],
        batch.rows,
        batch.input_ids,
        batch.attention_mask,
    )
    tokens = torch.full((4, 1), model.config.decoder_start_token_id)
    for _ in range(3):
        logits = model(inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=tokens).logits
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], 1)
    expected = []
    for row in tokens[:, 1:].tolist():
        kept = row[: row.index(eos)] if eos in row else row
        expected.append(backbone64.tokenizer.decode(kept, skip_special_tokens=True).strip())
    assert answers == [expected[:2], expected[2:]]


def test_a_prompt_that_is_ignored_is_refused(backbone):
    check_prompt_matters(backbone, prompts(backbone)[0], text_batch())
    deaf = types.SimpleNamespace(
        config=backbone.model.config,
        get_input_embeddings=backbone.model.get_input_embeddings,
        prepare_decoder_input_ids_from_labels=backbone.model.prepare_decoder_input_ids_from_labels,
    )

    class Deaf:
        def __getattr__(self, name):
            return getattr(deaf, name)

        def __call__(self, inputs_embeds, attention_mask, decoder_input_ids, use_cache):
            return types.SimpleNamespace(logits=torch.ones(1, 2, 9))

    with pytest.raises(RankprobeError, match="same logits with and without the prompt"):
        check_prompt_matters(dataclasses.replace(backbone, model=Deaf()), prompts(backbone)[0], text_batch())
