"""What the twins get in place of a run's gradient, and that a stack of twins is trained as each alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import quick
from torch import nn

import rankprobe as rp
from rankprobe.config import TrainingConfig
from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS, build
from rankprobe.prompts.init import InitSources
from rankprobe.rank import haar_like
from rankprobe.training.gradients import BLOCK_TIMES, Gradients
from rankprobe.training.optimization import Optimization
from rankprobe.training.twins import Twins
from rankprobe.twins import TWINS, parse_twins, twin_prefix, twins_of

N, D = 6, 10


def optimization(method, steps=12):
    """A method in float64 with a clip that is often reached."""
    vocabulary = torch.randn(40, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = {"method": method, "prompt_length": N}
    if method == "probe":
        settings |= {"orthogonality": 0.01}
    if method == "orthonormal probe":
        # Of a square U, the last column gives only a sign: its gradient is rounding, which AdamW enlarges.
        settings |= {"method": "probe", "orthonormal": True, "rank": N - 1}
    config = quick(**settings)
    built = build(config.method, InitSources(vocabulary, vocabulary[:3]), torch.Generator().manual_seed(1))
    training = TrainingConfig(learning_rate=0.1, steps=steps, clip_norm=0.5)
    return Optimization(built, nn.Module(), training, steps)


def gradients_of(step):
    """Gradients of four twins, of different sizes."""
    rng = np.random.default_rng(step)
    return rng.standard_normal((len(TWINS), N, D)) * np.array([0.01, 0.1, 1, 10])[:, None, None]


@pytest.mark.parametrize("method", [*(name for name in METHODS if name != "finetune"), "orthonormal probe"])
def test_a_stack_is_trained_as_each_twin_alone(method):
    run = optimization(method)
    twins = Twins(run, tuple(TWINS), seed=0)
    alone = [optimization(method) for _ in TWINS]
    for step in range(1, 13):
        twins._apply(step, torch.from_numpy(gradients_of(step)))
        for one, gradient in zip(alone, gradients_of(step), strict=True):
            one.update_with(gradient, step)
    for kind, one, P in zip(TWINS, alone, twins.P, strict=True):
        for name, parameter in twins.methods[kind].named_parameters():
            torch.testing.assert_close(parameter, one.trained[name], rtol=0, atol=1e-9)
        torch.testing.assert_close(P, one.method().detach(), rtol=0, atol=1e-9)
    assert not twins.diverged
    before = optimization(method).method()
    torch.testing.assert_close(run.method(), before, rtol=0, atol=0)  # the run itself was not touched
    assert float((twins.P.detach()[3] - before.detach()).abs().max()) > 1e-3


def test_a_haar_twin_has_the_spectrum_of_the_gradient_and_other_directions():
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal((N, 2)) @ rng.standard_normal((2, D))
    follower = Gradients(0, ["haar"])
    follower.note(gradient)
    made = [follower.of_twins(step, None)[0].numpy() for step in (1, 2)]
    s = np.linalg.svd(gradient, compute_uv=False)
    for each in made:
        np.testing.assert_allclose(np.linalg.svd(each, compute_uv=False)[:2], s[:2], rtol=1e-6)
    assert abs(np.vdot(made[0], made[1])) < 0.9 * np.linalg.norm(gradient) ** 2


@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_random_singular_vectors_have_no_preferred_direction(shape):
    """The mean of E[x xᵀ] over columns is I/n, and signs are as often positive as negative."""
    rng, s = np.random.default_rng(0), np.array([3.0, 0.0, 0.0])
    made = np.stack([haar_like(s, shape, rng) for _ in range(4000)])
    left = np.einsum("kij,klj->il", made, made) / 9 / len(made)
    np.testing.assert_allclose(left, np.eye(shape[0]) / shape[0], atol=0.02)
    np.testing.assert_allclose(made.mean(0), 0, atol=0.06)


def test_signs_are_held_for_three_autocorrelation_times():
    rng, follower = np.random.default_rng(1), Gradients(0, ["flip-block"])
    gradient, signs = rng.standard_normal((20, 30)), []
    for step in range(1, 2001):
        gradient = 0.8 * gradient + 0.6 * rng.standard_normal((20, 30))
        follower.note(gradient)
        made = follower.of_twins(step, None)[0].numpy()
        sign = np.vdot(made, gradient) / np.vdot(gradient, gradient)
        assert abs(sign) == pytest.approx(1.0)
        signs.append(math.copysign(1.0, sign))
    assert follower.correlation == pytest.approx(0.8, abs=0.02)
    assert follower.block_length == pytest.approx(BLOCK_TIMES * 9, abs=3)
    flips = np.flatnonzero(np.diff(signs[200:]))
    assert np.diff(flips).min() >= BLOCK_TIMES * 9 - 3
    assert 0.3 < np.mean(np.array(signs) > 0) < 0.7


def noisy(steps, phi, share, shape=(20, 30)):
    """Gradients of which a share of the variance follows an autoregression φ, and the rest is independent."""
    rng = np.random.default_rng(2)
    slow = rng.standard_normal(shape)
    for _ in range(steps):
        slow = phi * slow + math.sqrt(1 - phi**2) * rng.standard_normal(shape)
        yield math.sqrt(share) * slow + math.sqrt(1 - share) * rng.standard_normal(shape)


@pytest.mark.parametrize(
    ("phi", "share", "expected"),
    [(0.9, 0.4, 0.9), (0.9, 1, 0.9), (0.4, 0.8, 0.4), (0, 0, 0), (0.99, 1, 0.95)],
)
def test_noise_over_a_slow_part_does_not_hide_its_autocorrelation(phi, share, expected):
    follower = Gradients(0, ["flip-block"])
    for gradient in noisy(300, phi, share):
        follower.note(gradient)
    assert follower.correlation == pytest.approx(expected, abs=0.02)


def test_a_ratio_to_a_cosine_that_may_be_zero_is_not_used():
    """Of independent gradients the ratio is often large; blocks stay at three or four steps."""
    rng, follower = np.random.default_rng(3), Gradients(0, ["flip-block"])
    lengths = []
    for _ in range(400):
        follower.note(rng.standard_normal((6, 5)))
        lengths.append(follower.block_length)
    assert max(lengths[20:]) <= 4


@pytest.mark.parametrize("stop_at", [0, 1, 2, 150])
def test_signs_after_a_resume_are_those_without_one(stop_at):
    def signs(follower, gradients, first):
        made = []
        for step, gradient in enumerate(gradients, first):
            follower.note(gradient)
            made.append(
                (follower.correlation, float(follower.of_twins(step, None)[0].numpy()[0, 0] / gradient[0, 0]))
            )
        return made

    given = list(noisy(300, 0.8, 0.5))
    whole = signs(Gradients(0, ["flip-block"]), given, 1)
    before, after = Gradients(0, ["flip-block"]), Gradients(0, ["flip-block"])
    begun = signs(before, given[:stop_at], 1)
    after.load(before.state())
    assert begun + signs(after, given[stop_at:], stop_at + 1) == whole


def test_a_checkpoint_of_the_version_without_a_second_last_gradient_goes_on():
    first, second = noisy(2, 0.9, 1)
    for seed in range(6):
        follower = Gradients(seed, ["flip-block"])
        follower.load({"numbers": torch.tensor([5.0, 10, -1, 2]).double(), "last": torch.from_numpy(first)})
        assert follower.note(second)["grad_cosine"] == pytest.approx(0.9, abs=0.03)
        made = [follower.of_twins(step, None)[0].numpy() for step in (11, 12)]
        assert all(np.vdot(each, second) < 0 for each in made)  # of the block that was begun, with its sign
        assert follower.correlation == pytest.approx(0.9, abs=0.03)


def test_statistics_of_a_gradient():
    rng, follower = np.random.default_rng(0), Gradients(0, [])
    first, second = rng.standard_normal((2, N, D))
    assert follower.note(first)["grad_cosine"] is None
    found = follower.note(second)
    s, rows = np.linalg.svd(second, compute_uv=False), np.linalg.norm(second, axis=1)
    assert found["grad_stable_rank"] == pytest.approx((s**2).sum() / s[0] ** 2)
    assert found["grad_row_ratio"] == pytest.approx(rows.max() / np.median(rows))
    expected = np.vdot(first, second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert found["grad_cosine"] == pytest.approx(expected)
    assert follower.note(np.zeros((N, D))) == dict.fromkeys(found)


def test_an_example_flip_twin_of_batches_of_one_gets_the_gradient_or_its_negative(tmp_path, monkeypatch):
    seen, apply = [], Twins._apply

    def spy(self, step, gradients):
        seen.append((self.gradients._last, gradients[0].numpy()))
        apply(self, step, gradients)

    monkeypatch.setattr(Twins, "_apply", spy)
    run = rp.train(quick(batch_size=1, steps=8, twin="flip-example"), runs_dir=tmp_path)
    cosines = [np.vdot(*pair) / np.vdot(pair[0], pair[0]) for pair in seen]
    np.testing.assert_allclose(np.abs(cosines), 1.0, rtol=1e-5)
    assert len({round(each) for each in cosines}) == 2
    prefixes = {kind for kind in TWINS if twin_prefix(kind) + "n_positive" in run.log("steps")}
    assert prefixes == {"flip-example"}


def test_a_flag_of_earlier_versions_is_refused_with_what_to_give():
    with pytest.raises(RankprobeError, match="twin is False; give 'none', or some of gaussian, haar, flip-"):
        quick(twin=False)


def test_names_of_twins():
    assert parse_twins("haar, gaussian") == ("gaussian", "haar")
    assert parse_twins("none") == ()
    for wrong, message in (
        ("gauss", "unknown twin 'gauss'"),
        ("none,haar", "excludes the others"),
        ("", "give none, or some of"),
    ):
        with pytest.raises(RankprobeError, match=message):
            parse_twins(wrong)
    columns = ["n_positive", "flip_block_n_positive", "gaussian_n_positive"]
    assert twins_of(columns, "n_positive") == {
        "gaussian": "gaussian_n_positive",
        "flip-block": "flip_block_n_positive",
    }
