"""Each method computes what its paper says, and trains what it declares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS, build, config_class, method_class
from rankprobe.prompts.config import ProbeConfig, VanillaConfig
from rankprobe.prompts.init import InitSources, positive_diagonal, random_factor, sampled_vocabulary
from rankprobe.prompts.probe import GATES, Probe, orthonormal
from rankprobe.studies.parameters import trainable_parameters


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(name: str, n: int = 6, d: int = 10, **settings):
    config = config_class(name).parse({"name": name, "prompt_length": n, **settings})
    return build(config, words(d), generator())


def words(d: int = 10) -> InitSources:
    def rows(count: int, seed: int) -> torch.Tensor:
        return torch.randn(count, d, generator=generator(seed), dtype=torch.float64)

    return InitSources(rows(50, 7), labels=rows(3, 8), text=rows(4, 9), saved=rows(6, 10))


def test_probe_equals_a_dense_oracle():
    probe = make("probe")
    with torch.no_grad():
        probe.sigma.copy_(torch.tensor([1.5, -0.3, 0.0, 2.0, 0.1, -4.0]))
    U, sigma, V = (p.detach().numpy() for p in (probe.U, probe.sigma, probe.V))
    Sigma = np.zeros((6, 6))
    for i in range(6):
        Sigma[i, i] = max(sigma[i], 0.0)
    np.testing.assert_allclose(probe().detach().numpy(), U @ Sigma @ V, rtol=1e-14)


def test_dead_entries_of_the_probe_get_no_gradient():
    probe = make("probe")
    dead = [1, 2]
    with torch.no_grad():
        probe.sigma.copy_(torch.tensor([1.5, -0.3, 0.0, 2.0, 0.1, 4.0]))
    probe().square().sum().backward()
    alive = [i for i in range(6) if i not in dead]
    assert not probe.sigma.grad[dead].any()
    assert not probe.U.grad[:, dead].any()
    assert not probe.V.grad[dead].any()
    assert probe.sigma.grad[alive].all()
    assert probe.U.grad[:, alive].all()
    assert probe.V.grad[alive].all()


def test_off_diagonal_entries_do_not_exist():
    probe = make("probe", n=6, d=10)
    assert {name: tuple(p.shape) for name, p in probe.named_parameters()} == {
        "U": (6, 6),
        "sigma": (6,),
        "V": (6, 10),
    }
    assert not list(probe.buffers())


def test_probe_rank_is_bounded_by_the_prompt():
    assert make("probe", rank=3).sigma.shape == (3,)
    with pytest.raises(RankprobeError, match=r"rank is 7, but P is 6 x 10 .* at most 6"):
        make("probe", rank=7)


PROMPTS = [name for name in METHODS if name != "finetune"]


@pytest.mark.parametrize("name", PROMPTS)
def test_gradients(name):
    method = make(name, n=4, d=5)
    names, values = zip(*method.named_parameters(), strict=True)

    def prompt(*parameters):
        return torch.func.functional_call(method, dict(zip(names, parameters, strict=True)))

    assert torch.autograd.gradcheck(prompt, [v.detach().requires_grad_() for v in values])


@pytest.mark.parametrize("name", PROMPTS)
def test_a_method_is_reproducible_and_declares_itself(name):
    one, other = make(name), make(name)
    assert torch.equal(one(), other())
    assert one().shape == (6, 10)
    assert one().dtype == torch.float64
    assert list(one.trainable(torch.nn.Linear(2, 2))) == [n for n, _ in one.named_parameters()]
    assert type(one) is method_class(name)


@pytest.mark.parametrize(
    ("method", "n", "counts"),
    [
        ("dpt", 100, (6_120, 8_680, 11_240)),
        ("vanilla", 100, (51_200, 76_800, 102_400)),
        ("residual", 100, (462_736, 693_904, 925_072)),
        ("residual", 10, (416_656, 624_784, 832_912)),
        ("dept", 40, (55_040, 76_800, 98_560)),
        ("ulpt", 100, (1_224, 1_736, 2_248)),
        ("subspace", 100, (1_000, 1_000, 1_000)),
        ("finetune", None, (60_506_624, 222_903_552, 737_668_096)),
    ],
)
def test_parameter_counts_of_the_papers(method, n, counts):
    """Tables 1 and 4: 6K, 9K, 11K; 51K, 77K, 102K; 462K, 693K, 925K; 416K, 624K, 832K (cut, not rounded).

    DePT's 76,800 on T5-Base are Shi and Lipani's; ULPT's are n · r + 2d; fine-tuning's T5's own.
    """
    found = [trainable_parameters(method, shape, n) for shape in ("t5-small", "t5-base", "t5-large")]
    assert tuple(found) == counts


@pytest.mark.parametrize("init", ["vocabulary", "labels", "text", "uniform", "normal", "saved"])
def test_where_a_prompt_starts(init):
    given = {"text": {"init_text": "some words"}, "saved": {"init_from": "a prompt"}}.get(init, {})
    P, source = make("vanilla", init=init, **given)().detach(), words()
    match init:
        case "vocabulary":
            assert all((source.vocabulary == row).all(1).any() for row in P)
        case "labels":
            assert torch.equal(P[:3], source.labels)
            assert all((source.vocabulary == row).all(1).any() for row in P[3:])
        case "text":
            assert torch.equal(P, torch.cat([source.text, source.text[:2]]))
        case "saved":
            assert torch.equal(P, source.saved)
        case "uniform":
            assert 0.4 < P.abs().max() <= 0.5
        case "normal":
            assert 0.3 < P.std() < 0.7
            assert P.abs().max() > 0.5


def test_more_labels_than_prompt_tokens():
    assert torch.equal(make("vanilla", n=2, init="labels")(), words().labels[:2])


def test_a_saved_prompt_of_another_shape():
    with pytest.raises(RankprobeError, match="the prompt in '/p.npy' is 6 x 10, and P is 7 x 10"):
        make("vanilla", n=7, init="saved", init_from="/p.npy")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init": "text"}, "init is 'text' and init_text is None; --init text and --init-text go together"),
        ({"init_text": "words"}, "init is 'vocabulary' and init_text is 'words'"),
        ({"init": "saved"}, "--init saved and --init-from go together"),
    ],
)
def test_settings_that_belong_together(settings, message):
    with pytest.raises(RankprobeError, match=message):
        make("vanilla", **settings)


def test_random_factors_ignore_no_initial_prompt():
    with pytest.raises(RankprobeError, match=r"init 'uniform' would do nothing; give --factor-init svd"):
        make("probe", init="uniform")
    with pytest.raises(RankprobeError, match=r"factor_scale 2.0 would do nothing with factor_init 'svd'"):
        make("dpt", factor_init="svd", factor_scale=2)
    with pytest.raises(RankprobeError, match=r"sigma_init 'uniform' would do nothing with factor_init 'svd'"):
        make("probe", factor_init="svd", sigma_init="uniform")


@pytest.mark.parametrize("gate", GATES)
def test_a_probe_from_the_svd_starts_at_the_vanilla_prompt(gate):
    probe, vanilla = make("probe", factor_init="svd", gate=gate), make("vanilla")
    torch.testing.assert_close(probe(), vanilla(), rtol=1e-12, atol=1e-12)
    kept = make("probe", factor_init="svd", gate=gate, orthonormal=True)
    torch.testing.assert_close(kept(), vanilla(), rtol=1e-12, atol=1e-12)
    assert kept.U.square().mean().item() == pytest.approx(1)
    torch.testing.assert_close(probe.U.T @ probe.U, torch.eye(6, dtype=torch.float64))


def test_a_start_of_low_rank():
    text = {"init": "text", "init_text": "x"}  # four rows, repeated
    torch.testing.assert_close(
        make("probe", factor_init="svd", gate="softplus", **text)(), make("vanilla", **text)()
    )
    with pytest.raises(RankprobeError, match=r"bottleneck is 7, and P is 6 x 10 .*, whose SVD has 6 values"):
        make("dpt", bottleneck=7, factor_init="svd")


def test_labels_where_there_are_none():
    config = config_class("vanilla")(init="labels")
    with pytest.raises(RankprobeError, match="init is 'labels', and the task has none"):
        build(config, InitSources(words().vocabulary, words().labels[:0]), generator())


def test_dpt_from_the_svd_is_the_best_approximation():
    P = make("vanilla")().detach()
    U, s, V = torch.linalg.svd(P, full_matrices=False)
    torch.testing.assert_close(
        make("dpt", bottleneck=2, factor_init="svd")().detach(), U[:, :2] * s[:2] @ V[:2]
    )


@pytest.mark.parametrize(
    ("gate", "values", "slopes"),
    [
        ("relu", [2, 0, 0], [1, 0, 0]),
        ("straight-through", [2, 0, 0], [1, 1, 1]),
        ("leaky", [2, 0, -0.01], [1, 0.01, 0.01]),
        ("softplus", [2.126928, 0.693147, 0.313262], [0.880797, 0.5, 0.268941]),
        ("none", [2, 0, -1], [1, 1, 1]),
    ],
)
def test_gates(gate, values, slopes):
    sigma = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64, requires_grad=True)
    out = GATES[gate](sigma)
    out.sum().backward()
    torch.testing.assert_close(out.detach(), torch.tensor(values, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(sigma.grad, torch.tensor(slopes, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_orthogonality_penalty():
    assert make("probe").penalty() is None
    assert make("probe", factor_init="svd", orthogonality=0.5).penalty().item() == pytest.approx(0, abs=1e-20)
    probe = make("probe", orthogonality=0.5)
    U, V = (p.detach().numpy() for p in (probe.U, probe.V))
    expected = 0.5 * (((U.T @ U - np.eye(6)) ** 2).sum() + ((V @ V.T - np.eye(6)) ** 2).sum())
    assert probe.penalty().item() == pytest.approx(expected)


@pytest.mark.parametrize("rank", [6, 3])
def test_with_orthonormal_factors_the_gated_sigma_are_the_singular_values_of_p(rank):
    probe = make("probe", orthonormal=True, rank=rank)
    with torch.no_grad():
        probe.sigma.copy_(torch.tensor([1.5, -0.3, 0.2, 2.0, 0.1, -4.0])[:rank])
    gated = probe.sigma.detach().clamp(min=0).sort(descending=True).values
    torch.testing.assert_close(torch.linalg.svdvals(probe())[:rank], gated, rtol=1e-12, atol=1e-12)
    assert torch.linalg.matrix_rank(probe()) == (probe.sigma > 0).sum()


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(0, 6), st.floats(0.01, 100))
def test_orthonormal_is_the_gram_schmidt_process(seed, r, more, scale):
    factor = torch.randn(r + more, r, generator=generator(seed), dtype=torch.float64)
    expected = []
    for column in factor.T:
        rest = column
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            rest = rest - sum((q @ rest * q for q in expected), torch.zeros_like(rest))
        expected.append(rest / rest.norm())
    found = orthonormal(scale * factor)
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.T @ found, torch.eye(r, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_gradients_of_orthonormal_factors():
    probe = make("probe", n=4, d=5, orthonormal=True)
    names, values = zip(*probe.named_parameters(), strict=True)
    assert names == ("U", "sigma", "V")

    def prompt(*parameters):
        return torch.func.functional_call(probe, dict(zip(names, parameters, strict=True)))

    assert torch.autograd.gradcheck(prompt, [v.detach().requires_grad_() for v in values])


def test_orthonormal_factors_have_no_use_for_the_penalty():
    with pytest.raises(RankprobeError, match=r"orthogonality 0.1 would do nothing .* leave one out"):
        make("probe", orthonormal=True, orthogonality=0.1)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_residual_equals_torchs_layers(separate, layer_norm):
    method = make("residual", hidden=7, separate=separate, layer_norm=layer_norm)
    for i, row in enumerate(method()):
        own = {name: p.detach()[i] if separate else p.detach() for name, p in method.named_parameters()}
        hidden = functional.relu(functional.linear(method.E[i], own["W1"].T, own["b1"]))
        added = functional.linear(hidden, own["W2"].T, own["b2"])
        if layer_norm:
            added = functional.layer_norm(added, (10,), own["gain"], own["bias"])
        torch.testing.assert_close(row, method.E[i] + added)


def test_what_is_frozen_stays_out_of_the_trained_parameters():
    assert [name for name, _ in make("ulpt").named_parameters()] == ["Z", "scale", "shift"]
    assert [name for name, _ in make("subspace").named_parameters()] == ["theta"]
    subspace = make("subspace", dimension=4)
    torch.testing.assert_close(subspace.R.norm(dim=0), torch.ones(4, dtype=torch.float64))
    assert torch.equal(subspace(), make("vanilla")())  # it starts where vanilla does
    assert torch.linalg.matrix_rank(make("ulpt", n=8, code=3)()) == 3


def test_dept_starts_at_its_prompt_alone():
    dept = make("dept", update_positions=9, update_rank=2)
    assert dept.text_shift().shape == (9, 10)
    assert not dept.text_shift().any()
    assert dept.rates() == {"A": 0.001, "B": 0.001}


def test_finetuning_trains_the_backbone_and_no_prompt():
    method = build(config_class("finetune")(), words(), generator())
    assert method().shape == (0, 10)
    model = torch.nn.Linear(2, 3)
    assert method.trainable(model) == dict(model.named_parameters())


def test_vanilla_starts_at_distinct_rows_of_the_vocabulary():
    vocabulary = torch.arange(40.0).reshape(20, 2)
    config = VanillaConfig(prompt_length=10, init_vocab_size=12)
    P = build(config, InitSources(vocabulary, vocabulary[:0]), generator())()
    rows = (P[:, 0] / 2).int().tolist()
    assert torch.equal(P, vocabulary[rows])
    assert len(set(rows)) == 10
    assert max(rows) < 12


def test_a_prompt_longer_than_the_vocabulary_repeats_rows():
    vocabulary = torch.arange(8.0).reshape(4, 2)
    P = sampled_vocabulary(generator(), vocabulary, 10)
    assert P.shape == (10, 2)
    assert {tuple(row) for row in P.tolist()} == {tuple(row) for row in vocabulary.tolist()}


def test_initial_factors():
    normal = random_factor(generator(), (200, 200), "normal", 2.0, torch.float64)
    uniform = random_factor(generator(), (200, 200), "uniform", 0.5, torch.float64)
    assert normal.std().item() == pytest.approx(2.0, rel=0.02)
    assert uniform.abs().max().item() <= 0.5
    assert uniform.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.02)
    for kind in ("ones", "uniform", "half-normal"):
        assert (positive_diagonal(generator(), 500, kind, torch.float64) > 0).all()
    assert (positive_diagonal(generator(), 5, "ones", torch.float64) == 1).all()


def test_unknown_method_names_the_nearest():
    with pytest.raises(RankprobeError, match="unknown method 'prob'; did you mean 'probe'"):
        config_class("prob")


def test_probe_config_defaults_are_the_papers():
    assert ProbeConfig().prompt_length == 100
    assert ProbeConfig().rank is None
    assert method_class("probe") is Probe
