"""Each method computes what its paper says, and trains what it declares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS, build, config_class, method_class
from rankprobe.prompts.config import ProbeConfig, VanillaConfig
from rankprobe.prompts.count import trainable_parameters
from rankprobe.prompts.init import Words, positive_diagonal, random_factor, sampled_vocabulary
from rankprobe.prompts.probe import Probe


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(name: str, n: int = 6, d: int = 10, **settings):
    config = config_class(name).parse({"name": name, "prompt_length": n, **settings})
    return build(config, words(d), generator())


def words(d: int = 10) -> Words:
    def rows(count: int, seed: int) -> torch.Tensor:
        return torch.randn(count, d, generator=generator(seed), dtype=torch.float64)

    return Words(rows(50, 7), labels=rows(3, 8), text=rows(4, 9), saved=rows(6, 10))


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


@pytest.mark.parametrize("name", METHODS)
def test_gradients(name):
    method = make(name, n=4, d=5)
    names, values = zip(*method.named_parameters(), strict=True)

    def prompt(*parameters):
        return torch.func.functional_call(method, dict(zip(names, parameters, strict=True)))

    assert torch.autograd.gradcheck(prompt, [v.detach().requires_grad_() for v in values])


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_reproducible_and_declares_itself(name):
    one, other = make(name), make(name)
    assert torch.equal(one(), other())
    assert one().shape == (6, 10)
    assert one().dtype == torch.float64
    assert list(one.trainable(torch.nn.Linear(2, 2))) == [n for n, _ in one.named_parameters()]
    assert type(one) is method_class(name)


@pytest.mark.parametrize(
    ("method", "width", "count"),
    [
        ("dpt", 512, 6_120),
        ("dpt", 768, 8_680),
        ("dpt", 1024, 11_240),
        ("vanilla", 512, 51_200),
        ("vanilla", 768, 76_800),
        ("vanilla", 1024, 102_400),
    ],
)
def test_parameter_counts_of_the_paper(method, width, count):
    """Table 1: 6K, 9K and 11K for DPT; 51K, 77K and 102K for prompt tuning."""
    assert trainable_parameters(method, width) == count


def test_vanilla_starts_at_distinct_rows_of_the_vocabulary():
    vocabulary = torch.arange(40.0).reshape(20, 2)
    config = VanillaConfig(prompt_length=10, vocabulary=12)
    P = build(config, Words(vocabulary, vocabulary[:0]), generator())()
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
    assert issubclass(method_class("probe"), Probe)
