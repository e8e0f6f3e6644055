"""What `test_pretend_device.py` runs in a process of its own, on the pretend device of `pretend.py`."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pandas as pd
import pretend
import pytest
import torch
from conftest import assert_equal_runs, quick
from small_llama import save_llama

import rankprobe as rp
from rankprobe import bundled
from rankprobe.backbone import device, load_backbone
from rankprobe.errors import RunFailed, RunInterrupted
from rankprobe.evaluation import evaluate_runs, load, truncate, truncation
from rankprobe.prompts import METHODS
from rankprobe.runs import Run
from rankprobe.training import loop, train_cohort
from rankprobe.twins import ALL_TWINS

LOADED_ONCE = cache(load_backbone)
SHORT = {"batch_size": 8, "steps": 4, "eval_every": 4, "checkpoint_every": 2, "twin": ALL_TWINS}
SETTINGS = {"subspace": {"dimension": 5}, "dpt": {"bottleneck": 2}, "probe": {"orthogonality": 0.1}}
MODES = {"bfloat16": {"dtype": "bfloat16"}, "dropout": {"dropout": True},
         "recomputing": {"gradient_checkpointing": True}}  # fmt: skip


def batched(names, K=3):
    """K names at a time; the last ones are filled up with the first."""
    return [[*names[start:], *names][:K] for start in range(0, len(names), K)]


@pytest.fixture(scope="session", autouse=True)
def pretend_device():
    pretend.register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "DEVICES", (*device.DEVICES, pretend.NAME))
        patch.setattr(torch, "Generator", pretend.PretendGenerator)
        patch.setattr(truncation, "RESAMPLES", 2)
        yield


@pytest.fixture(scope="session")
def few_rows(tmp_path_factory):
    """A folder with the first bundled rows of CB: two steps per epoch, one batch to evaluate."""
    folder = tmp_path_factory.mktemp("rows") / "CB"
    folder.mkdir()
    for name, count in (("train", 16), ("val", 8)):
        lines = (bundled.FOLDER / "CB" / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(lines[:count]))
    return str(folder.parent)


@pytest.fixture
def cohort(few_rows, monkeypatch):
    """A function from K and settings to the configs of K runs; those that can share a backbone share it."""

    def configs(K, **settings):
        if settings.get("method") != "finetune":
            monkeypatch.setattr(load, "load_backbone", LOADED_ONCE)
        return [quick(**{**SHORT, "data": few_rows, **settings}, seed=seed) for seed in range(K)]

    return configs


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A folder with a decoder-only model."""
    return save_llama(tmp_path_factory.mktemp("llama"), attention_dropout=0.1)


@pytest.fixture(params=["random:tiny", "llama"])
def model(request):
    """The name of a model, or the folder of one that is made first."""
    return request.getfixturevalue(request.param) if request.param == "llama" else request.param


def interrupted_and_resumed(configs, folder, device=None):
    """Runs that are stopped at step 3, and go on from the checkpoint of step 2, on `device`."""

    def stop(record):
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, RunInterrupted)):
        train_cohort(configs, runs_dir=folder, hooks=[stop])
    return rp.resume([Run(folder / config.run_id) for config in configs], device=device)


def check(configs, folder, at_work=True):
    """Train and resume on the device, then, `at_work`, score and truncate; everything equals that on the CPU."""
    on_device = [each.model_copy(update={"device": pretend.NAME}) for each in configs]
    cpu = train_cohort(
        [each.model_copy(update={"device": "cpu"}) for each in configs], runs_dir=folder / "cpu"
    )
    runs = interrupted_and_resumed(on_device, folder / pretend.NAME)
    for run, expected in zip(runs, cpu, strict=True):
        assert run.manifest["machine"]["device"] == f"{pretend.NAME}:0"
        assert_equal_runs(run, expected)
    if not at_work:
        return
    scores = [evaluate_runs(each, scoring="both").drop(columns="run_id") for each in (runs, cpu)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    if runs[0].prompt("final").size:
        curves = [truncate(each[0], ks=[1]).curves.drop(columns="run_id") for each in (runs, cpu)]
        pd.testing.assert_frame_equal(*curves, check_exact=True)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_results_of_the_cpu(method, cohort, tmp_path):
    check(cohort(1, method=method, **SETTINGS.get(method, {})), tmp_path)


@pytest.mark.parametrize("methods", batched([name for name in METHODS if name != "finetune"]))
def test_a_cohort_of_every_method_gives_the_results_of_the_cpu(methods, cohort, tmp_path):
    configs = [cohort(1, method=name, **SETTINGS.get(name, {}))[0] for name in methods]
    check(configs, tmp_path, at_work=False)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_results_of_the_cpu(model, mode, cohort, tmp_path):
    check(cohort(3, model=model, **MODES[mode]), tmp_path, at_work=mode == "bfloat16")


@pytest.mark.parametrize("K", [1, 3])
def test_a_decoder_gives_the_results_of_the_cpu(llama, K, cohort, tmp_path):
    check(cohort(K, model=llama), tmp_path)


def test_a_run_of_the_device_goes_on_on_the_cpu(cohort, tmp_path):
    configs = cohort(2, dtype="bfloat16")
    on_device = [each.model_copy(update={"device": pretend.NAME}) for each in configs]
    runs = interrupted_and_resumed(on_device, tmp_path / pretend.NAME, device="cpu")
    for run, expected in zip(runs, train_cohort(configs, runs_dir=tmp_path / "cpu"), strict=True):
        assert run.manifest["config"]["device"] == pretend.NAME
        assert run.manifest["resumed"][0]["machine"]["device"] == "cpu"
        assert_equal_runs(run, expected)


def test_a_device_without_float64_loads_trains_and_resumes(model, tmp_path, few_rows, monkeypatch):
    """As MPS."""
    monkeypatch.setattr(pretend, "without_float64", True)
    config = quick(**SHORT, data=few_rows, model=model, device=pretend.NAME)
    (run,) = interrupted_and_resumed([config], tmp_path)
    assert run.status == "finished"
    assert len(evaluate_runs([run]))


def syncs_of_a_step(configs, folder):
    """What made the host wait during step 3, which has neither an evaluation nor a checkpoint."""
    before = {}
    forward_backward = loop.forward_backward

    def noting(session, step, members):
        before[step] = Counter(pretend.syncs)
        forward_backward(session, step, members)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "forward_backward", noting)
        train_cohort([each.model_copy(update={"device": pretend.NAME}) for each in configs], runs_dir=folder)
    return before[4] - before[3]


SHARED = {"random:tiny": 1 + 1 + 2, "llama": 1 + 1 + 1}
"""Waits per step, whatever K: the batch (`collate`); the losses (`forward_backward`); for T5, transformers asks
twice whether the mask hides anything (`label_logits`), for Llama, the range of the answers (`answer_logits`)."""

OWN = 1 + 1 + 1 + 3 + 2 * 2
"""Waits per step of each probe with four twins: the signs of the example flips (`RunState.forward`); ∂L/∂P
(`RunState.update`); the norms of the factors' gradients (`Optimization.update`); the gradient with signs, the
gradients of the twins, and whether the twins are finite (`Twins.update`); P and σ of the run, and those of the stack
of twins (`Recorder`)."""


@pytest.mark.parametrize(("K", "mode"), [(1, None), (3, None), (3, "dropout"), (3, "recomputing")])
def test_a_step_waits_for_the_device_no_more_often_than_stated(model, K, mode, cohort, tmp_path):
    config = {"model": model, "checkpoint_every": 4, **MODES.get(mode, {})}
    found = syncs_of_a_step(cohort(K, **config), tmp_path)
    shared = SHARED.get(model, SHARED["llama"])
    assert found.total() <= shared + K * OWN, found


def test_a_copy_to_the_host_in_a_step_is_too_much(cohort, tmp_path, monkeypatch):
    configs, losses = cohort(1, checkpoint_every=4), loop.losses
    usual = syncs_of_a_step(configs, tmp_path / "usual").total()

    def through_the_host(*args):
        return [each.to("cpu").to(each.device) for each in losses(*args)]

    monkeypatch.setattr(loop, "losses", through_the_host)
    # There and back, for the losses and again for their gradients.
    assert syncs_of_a_step(configs, tmp_path / "host").total() == usual + 4


def test_a_batch_on_the_host_is_refused(cohort, tmp_path, monkeypatch):
    collate = loop.collate
    monkeypatch.setattr(
        loop,
        "collate",
        lambda data, rows, pad, device, targets: collate(data, rows, pad, torch.device("cpu"), targets),
    )
    with pytest.raises(RunFailed, match="tensors of two devices"):
        train_cohort(
            [each.model_copy(update={"device": pretend.NAME}) for each in cohort(1)], runs_dir=tmp_path
        )


def on_device(*shape):
    return torch.ones(shape).to(pretend.NAME)


@pytest.mark.parametrize(
    "mix",
    [
        lambda: on_device(3) + torch.ones(3),
        lambda: torch.ones(3) * on_device(),
        lambda: on_device(3, 3) @ torch.ones(3, 3),
        lambda: torch.cat([on_device(3), torch.ones(3)]),
        lambda: torch.stack([on_device(), torch.ones(())]),
        lambda: on_device(3)[torch.tensor([0])],
        lambda: on_device(3).bernoulli_(0.5, generator=torch.Generator()),
    ],
)
def test_tensors_of_two_devices_are_refused(mix):
    with pytest.raises(RuntimeError, match="two devices"):
        mix()


@pytest.mark.parametrize(
    ("work", "waits"),
    [
        (lambda x: x + 1, 0),
        (lambda x: x * torch.tensor(2.0), 0),
        (lambda x: x.sum().item(), 1),
        (lambda x: bool(x.any()), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x.to("cpu", torch.float64), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.copy_(torch.zeros(3)), 1),
        (lambda x: torch.zeros(3).copy_(x), 1),
        (lambda x: torch.zeros(3).to(x.device), 1),
        (lambda x: torch.zeros(3).to(x.device, non_blocking=True), 0),
        (lambda x: torch.tensor([1.0], device=x.device), 1),
        (lambda x: torch.zeros(3, device=x.device), 0),
        (lambda x: x[x > 0], 1),
        (lambda x: torch.equal(x, x), 1),
        (lambda x: x.nonzero(), 1),
    ],
)
def test_what_makes_the_host_wait_is_counted(work, waits):
    x = on_device(3)
    before = pretend.syncs.total()
    work(x)
    assert pretend.syncs.total() - before == waits
