"""The quick layers compute what transformers' own do."""

from __future__ import annotations

import copy

import pytest
import torch
from families import loaded
from test_splice import prompts, text_batch

from rankprobe.backbone import PromptInput, label_logits, load_backbone, losses, recomputing
from rankprobe.backbone.allocator import PARAMETERS, keep_memory
from rankprobe.backbone.base import Backbone
from rankprobe.backbone.fast_layers import ATTENTION_DROPOUT, RootMeanSquare, fused_attention

CLASSES = {"FrozenLayerNorm": 5 + 7, "ShortCrossAttention": 2}


def quick_layers(model) -> list:
    return [module for module in model.modules() if type(module).__name__ in CLASSES]


def plain(backbone: Backbone) -> Backbone:
    """The same weights in transformers' own layers."""
    model = copy.deepcopy(backbone.model)
    for module in quick_layers(model):
        module.__class__ = type(module).__mro__[1]
    return Backbone(backbone.name, backbone.source, model, backbone.tokenizer)


def gradient(backbone: Backbone, P: torch.Tensor, batch) -> torch.Tensor:
    P = P.clone().requires_grad_()
    torch.stack(losses(backbone, [PromptInput(P)], batch)).sum().backward()
    assert P.grad is not None
    return P.grad


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5), ("bfloat16", 0.05)])
def test_logits_and_gradients_are_those_of_the_plain_layers(dtype, tolerance):
    backbone = load_backbone("random:tiny", dtype=dtype)
    assert len(quick_layers(backbone.model)) == sum(CLASSES.values())
    batch, (P,) = text_batch((4,)), prompts(backbone)
    both = [label_logits(each, [PromptInput(P)], batch).double() for each in (backbone, plain(backbone))]
    assert apart(*both) < tolerance
    assert apart(gradient(backbone, P, batch), gradient(plain(backbone), P, batch)) < tolerance
    with recomputing(backbone.model):
        recomputed = gradient(backbone, P, batch)
    assert torch.equal(recomputed, gradient(backbone, P, batch))


def test_dropout_falls_on_the_same_places(backbone64):
    batch, (P,) = text_batch((4,)), prompts(backbone64)
    found = []
    for each in (copy.deepcopy(backbone64.model), plain(backbone64).model):
        own = Backbone("", "random", each.train(), backbone64.tokenizer)
        torch.manual_seed(0)
        found.append(gradient(own, P, batch))
    assert apart(*found) < 1e-12
    assert apart(found[0], gradient(backbone64, P, batch)) > 0.01


def test_trained_weights_receive_the_gradients_of_the_plain_layers():
    quick = load_backbone("random:tiny", seed=3)
    batch, (P,) = text_batch((4,)), prompts(quick)
    models = [quick.model, plain(quick).model]
    for model in models:
        gradient(Backbone("", "random", model.requires_grad_(True), quick.tokenizer), P, batch)
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert apart(one.grad, other.grad) < 1e-4, name


def test_a_long_answer_takes_the_plain_path(backbone64):
    """There it is cheaper to make the keys once; tiny's heads are 32 wide."""
    batch, (P,) = text_batch((2,)), prompts(backbone64)
    labels = torch.randint(3, 500, (2, 40), generator=torch.Generator().manual_seed(0))
    long = type(batch)(batch.rows, batch.source_lengths, [40], batch.input_ids, batch.attention_mask, labels)
    calls = []
    hooks = [
        module.k.register_forward_hook(lambda *_: calls.append(1))
        for module in quick_layers(backbone64.model)
        if hasattr(module, "k")
    ]
    logits = label_logits(backbone64, [PromptInput(P)], batch)
    assert not calls
    logits = label_logits(backbone64, [PromptInput(P)], long)
    assert len(calls) == len(hooks) == 2
    assert torch.equal(logits, label_logits(plain(backbone64), [PromptInput(P)], long))
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("kind", ["Bart", "GPT2", "Gemma2"])
def test_other_models_keep_their_layers(kind):
    assert not quick_layers(loaded(kind).model)


def test_memory_parameters_of_the_environment_stay(monkeypatch):
    set_to = []
    library = type("C", (), {"mallopt": staticmethod(lambda parameter, value: set_to.append(parameter))})
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1000")
    keep_memory.__wrapped__()
    assert set_to == [value for name, (value, _) in PARAMETERS.items() if name != "MALLOC_TOP_PAD_"]
    monkeypatch.setattr("sys.platform", "darwin")
    keep_memory.__wrapped__()
    assert len(set_to) == 2


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize(("kind", "norms"), [("Llama", 5), ("Qwen3", 9), ("MT5", 12), ("Gemma", 0)])
def test_norms_of_other_families_are_those_of_the_plain_layers(kind, norms, dtype, tolerance):
    """Gemma adds 1 to the weight, so its norms stay as they are."""
    backbone = loaded(kind, getattr(torch, dtype))
    assert len(quick_layers(backbone.model)) == norms
    batch, (P,) = text_batch((4,)), prompts(backbone)
    assert apart(gradient(backbone, P, batch), gradient(plain(backbone), P, batch)) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma"])
def test_fused_attention_gives_the_gradients_of_eager_attention(kind, dtype, tolerance):
    """On a GPU it takes the place of eager attention; here it runs on the CPU.

    In float64 the difference is that of eager attention, whose softmax of transformers is in float32.
    """
    backbone = loaded(kind, getattr(torch, dtype))
    batch, (P,) = text_batch((4,)), prompts(backbone)
    eager = gradient(backbone, P, batch)
    assert backbone.model.config._attn_implementation == "eager"
    fused_attention(backbone.model)
    assert backbone.model.config._attn_implementation == "sdpa"
    assert apart(gradient(backbone, P, batch), eager) < tolerance


@pytest.mark.parametrize("name", ATTENTION_DROPOUT)
def test_attention_with_dropout_is_not_fused(name):
    model = loaded("Llama").model
    setattr(model.config, name, 0.1)
    fused_attention(model)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_the_norm_of_a_gpu_is_the_norm_of_a_cpu(dtype, tolerance):
    x, weight = (
        torch.randn(size, generator=torch.Generator().manual_seed(0)) for size in ((3, 7, 16), (16,))
    )
    x, weight = (each.to(getattr(torch, dtype)) for each in (x, weight))
    norms = []
    for norm in (
        lambda x: RootMeanSquare.apply(x, weight, 1e-6),
        lambda x: torch.nn.functional.rms_norm(x, weight.shape, weight, 1e-6),
    ):
        given = x.clone().requires_grad_()
        out = norm(given)
        out.square().sum().backward()
        norms.append((out.float(), given.grad.float()))
    for ours, theirs in zip(*norms, strict=True):
        assert apart(ours, theirs) < tolerance
