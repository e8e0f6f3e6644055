"""The loop trains what it should, measures without touching, and fails in good order."""

from __future__ import annotations

import json
import os
import signal
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import assert_equal_runs, quick, started
from transformers import get_linear_schedule_with_warmup

import rankprobe as rp
from rankprobe import rank
from rankprobe.backbone import fingerprint
from rankprobe.config import RunConfig, TrainingConfig, override
from rankprobe.errors import RankprobeError, RunFailed, RunInterrupted
from rankprobe.prompts import METHODS, config_class
from rankprobe.runs import CHECKPOINTS, Run
from rankprobe.runs.checkpoint import last_checkpoint
from rankprobe.runs.checksums import read_checked_json, write_checked_json
from rankprobe.training import checkpoints, gradients, loop
from rankprobe.training.optimization import rate_factor
from rankprobe.training.run_state import new_optimization
from rankprobe.training.session import open_session
from rankprobe.twins import TWINS, twin_prefix


def trained(tmp_path, name="run", **settings):
    hooks = settings.pop("hooks", ())
    return rp.train(quick(**settings), runs_dir=tmp_path, name=name, hooks=hooks)


def trajectory(run) -> np.ndarray:
    """Everything about the training that a diagnostic could disturb."""
    logged = [run.log("steps")["loss"].dropna(), run.log("evals")["value"]]
    return np.concatenate([run.prompt("final").ravel(), run.prompt("best").ravel(), *logged])


@pytest.mark.parametrize("method", METHODS)
def test_steps_change_the_declared_parameters_and_nothing_else(tmp_path, method):
    config = quick(method=method, steps=3, warmup_ratio=0, eval_every=1)
    session = open_session([config])
    one = started(config, tmp_path, session)
    optimization = one.optimization
    tensors = {
        **dict(session.backbone.model.named_parameters()),
        **dict(session.backbone.model.named_buffers()),
    }
    tensors |= {
        f"method.{name}": tensor for name, tensor in optimization.method.state_dict(keep_vars=True).items()
    }
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    for step in (1, 2):  # DePT's A has no gradient in the first, B being zero
        loop.forward_backward(session, step, [one])
        one.update(step)
    declared = {id(parameter) for parameter in optimization.trained.values()}
    changed = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name, tensor in tensors.items() if id(tensor) in declared}
    frozen = [tensor for tensor in tensors.values() if id(tensor) not in declared]
    assert all(tensor.grad is None for tensor in frozen)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_is_what_was_trained(tmp_path, method):
    run = trained(tmp_path, method=method, steps=4, eval_every=2)
    config, tensors = RunConfig.parse(run.manifest["config"]), run.tensors()
    session = open_session([config])
    optimization = new_optimization(config, session)
    np.testing.assert_array_equal(optimization.method().detach(), tensors["P0"])
    state = {name: torch.from_numpy(each) for name, each in tensors.items() if name.startswith("factor.")}
    assert state.keys() == {f"factor.{name}" for name in optimization.trained}
    optimization.load(state)
    np.testing.assert_array_equal(optimization.method().detach(), tensors["final"])
    for parameter in optimization.trained.values():
        parameter.data.add_(1.0)
    optimization.load(state)
    for name, parameter in optimization.trained.items():
        assert torch.equal(parameter, state[f"factor.{name}"])
    best = [name for name in tensors if name.startswith("best_factor.")]
    assert bool(best) == (method in ("dept", "finetune"))
    assert run.manifest["status"] == "finished"


@pytest.mark.parametrize("method", ["residual", "ulpt", "subspace", "dept", "finetune"])
def test_every_method_resumes_bit_for_bit(tmp_path, method):
    def stop(record):
        if record.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    whole = trained(tmp_path, "whole", method=method, eval_every=2)
    with pytest.raises(RunInterrupted, match="stopped after step 3"):
        trained(tmp_path, "parts", method=method, eval_every=2, hooks=[stop])
    (parts,) = rp.resume([rp.find_run("parts", tmp_path)])
    assert_equal_runs(parts, whole)


def test_a_resume_from_another_start_is_refused(tmp_path):
    def stop(record):
        if record.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    path = tmp_path / "start.npy"
    np.save(path, np.ones((8, 128), dtype=np.float32))
    settings = {"method": "subspace", "init": "saved", "init_from": str(path), "hooks": [stop]}
    with pytest.raises(RunInterrupted):
        trained(tmp_path, **settings)
    np.save(path, np.zeros((8, 128), dtype=np.float32))
    with pytest.raises(RankprobeError, match=r"its initial prompt is not what it was; restore .*start.npy"):
        rp.resume(rp.list_runs(tmp_path))


def test_finetuning_that_could_not_write_its_result_is_resumed(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_tensors", full)
    with pytest.raises(RunFailed, match="No space left"):
        trained(tmp_path, method="finetune")
    monkeypatch.undo()
    (run,) = rp.resume(rp.list_runs(tmp_path))
    assert run.status == "finished"


def test_a_model_that_runs_out_of_positions(tmp_path):
    from transformers import AutoModelForCausalLM, GPT2Config

    from rankprobe.backbone.load import load_tokenizer

    tokenizer = load_tokenizer("tiny")
    config = GPT2Config(
        n_embd=16,
        n_layer=1,
        n_head=1,
        n_positions=30,
        vocab_size=len(tokenizer),
        bos_token_id=1,
        eos_token_id=1,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(
        RankprobeError, match="has 30 positions, and the prompt takes 8, the longest text with"
    ):
        trained(tmp_path, model=str(tmp_path / "model"))


def test_recomputing_activations_changes_nothing(tmp_path):
    saving = trained(tmp_path, "saving", gradient_checkpointing=True)
    np.testing.assert_array_equal(saving.prompt(), trained(tmp_path, "plain").prompt())


def test_methods_train_in_one_cohort_but_finetuning(tmp_path):
    configs = [quick(method=method) for method in METHODS if method != "finetune"]
    runs = rp.train_cohort(configs, runs_dir=tmp_path)
    assert [run.status for run in runs] == ["finished"] * len(configs)
    tuned = quick(method="finetune", seed=3)
    for other in (quick(seed=2), quick(method="finetune", seed=2), tuned):
        with pytest.raises(RankprobeError, match=r"trains the backbone \(finetune\) takes one run at a time"):
            rp.train_cohort([tuned, other], runs_dir=tmp_path, names=["one", "other"])


def test_finetuning_learns_through_the_same_loop(tmp_path):
    run = trained(tmp_path, method="finetune", steps=30, learning_rate=1e-3, eval_every=15, twin="gaussian")
    steps, manifest = run.log("steps"), run.manifest
    assert steps["loss"].iloc[-5:].mean() < steps["loss"].iloc[1:4].mean() / 2
    assert manifest["backbone"]["fingerprint"] != manifest["backbone"]["fingerprint_after"]
    assert not [name for name in steps if name.startswith(("P_", "gaussian_", "grad_norm_shared"))]
    assert run.log("spectra").empty
    assert run.prompt().shape == (0, 128)


def test_methods_have_training_defaults_of_their_own():
    assert RunConfig.parse({"method": "finetune"}).learning_rate == 3e-4
    assert RunConfig.parse({"method": "finetune", "learning_rate": 1e-3}).learning_rate == 1e-3
    assert RunConfig.parse({"method": "dpt"}).learning_rate == 0.3
    finetune = config_class("finetune")()
    assert RunConfig(method=finetune).learning_rate == 3e-4
    assert (
        RunConfig(method=finetune, epochs=3).section(TrainingConfig)
        == TrainingConfig(epochs=3, learning_rate=3e-4).model_dump()
    )
    file = {"method": "dpt", "bottleneck": 3, "prompt_length": 50}
    assert RunConfig.parse(override(file, {"method": "finetune"})).method == finetune
    with pytest.raises(
        RankprobeError, match="dtype is bfloat16, too coarse for the small steps of method 'f"
    ):
        RunConfig.parse({"method": "finetune", "dtype": "bfloat16"})


def test_the_penalty_pulls_run_and_twin(tmp_path):
    run = trained(tmp_path, factor_init="svd", orthogonality=100.0, learning_rate=0.01, steps=20)
    free = trained(tmp_path, "free", factor_init="svd", learning_rate=0.01, steps=20)

    def skew(run):
        U = run.tensors()["factor.U"].astype(float)
        return np.abs(U.T @ U - np.eye(8)).max()

    assert skew(run) < skew(free) / 2
    twins = [each.log("steps")["gaussian_P_erank_rv"].iloc[-1] for each in (run, free)]
    assert twins[0] != twins[1]


def test_where_training_starts_can_be_told(tmp_path):
    first = trained(tmp_path, "first", method="vanilla")
    again = trained(tmp_path, "again", method="vanilla", init="saved", init_from=str(first.path))
    np.testing.assert_array_equal(again.prompt("P0"), first.prompt("final"))
    worded = trained(tmp_path, "worded", method="vanilla", init="text", init_text="Nora sold the lamp")
    assert worded.manifest["notes"] == ["the initial text has 4 tokens, repeated to the prompt length 8"]
    assert first.manifest["notes"] == []
    np.testing.assert_array_equal(worded.prompt("P0")[:4], worded.prompt("P0")[4:])
    svd = trained(tmp_path, "svd", factor_init="svd")
    np.testing.assert_allclose(svd.prompt("P0"), first.prompt("P0"), atol=1e-6)
    losses = [run.log("steps")["loss"].iloc[1] for run in (svd, first)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_run_folder_is_complete(tmp_path):
    run = trained(tmp_path)
    names = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert names == {
        "manifest.json", "steps.parquet", "spectra.parquet", "evals.parquet", "prompt.safetensors",
        "checkpoint/step-6.safetensors",
    }  # fmt: skip
    manifest = run.manifest
    assert manifest["status"] == "finished"
    assert manifest["backbone"]["fingerprint"] == manifest["backbone"]["fingerprint_after"]
    assert manifest["backbone"]["label"] == "random:tiny (random weights)"
    assert manifest["data"]["label"] == "miniature CB"
    assert manifest["trainable"] == {"U": 64, "sigma": 8, "V": 1024}
    assert manifest["config"]["steps"] == 6
    assert manifest["numerical_rank_rtol"] == rank.numerical_rank_rtol((8, 128))
    assert manifest["versions"]["torch"] == version("torch")
    assert manifest["seed"] == 42
    assert set(run.tensors()) == {"P0", "best", "final", "factor.U", "factor.sigma", "factor.V"}
    evals = run.log("evals")
    assert evals["step"].unique().tolist() == [0, 3, 6]
    assert set(evals["metric"]) == {"accuracy", "macro_f1"}
    assert (evals["n_examples"] == 56).all()
    majority = evals.query("metric == 'accuracy'")["baseline"]
    np.testing.assert_allclose(majority, 100 * 23 / 56)


def test_logged_readings_are_those_of_the_prompt(tmp_path):
    run = trained(tmp_path)
    steps, spectra, tensors = run.log("steps"), run.log("spectra"), run.tensors()
    assert steps["step"].tolist() == list(range(7))
    assert steps["loss"].isna().tolist() == [True] + 6 * [False]
    last, P = steps.iloc[-1], tensors["final"]
    U, sigma, V = (tensors[f"factor.{name}"] for name in ("U", "sigma", "V"))
    np.testing.assert_allclose(P, (U * np.maximum(sigma, 0)) @ V, rtol=1e-4, atol=1e-5)
    for name, value in rank.measure(P)[list(rank.LOGGED)].items():
        assert last[f"P_{name}"] == pytest.approx(value, rel=1e-5)
    for name, value in rank.measure(P - tensors["P0"])[list(rank.LOGGED)].items():
        assert last[f"dP_{name}"] == pytest.approx(value, rel=1e-4)
    assert last["n_positive"] == (sigma > 0).sum()
    assert last["n_positive"] + last["n_negative"] + last["n_zero"] == 8
    first = steps.iloc[0]
    assert first["n_positive"] == 8
    assert first["dP_numerical_rank"] == first["dP_erank_rv"] == 0
    final = spectra.query("step == 6")
    assert set(final["matrix"]) == {
        prefix + name for prefix in ("", *map(twin_prefix, TWINS)) for name in ("P", "dP", "sigma")
    }
    assert spectra["step"].unique().tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(final.query("matrix == 'P'")["value"], rank.singular_values(P), rtol=1e-4, atol=1e-5)  # fmt: skip
    np.testing.assert_array_equal(final.query("matrix == 'sigma'")["value"], sigma.astype(float))


def test_gradient_norms_belong_to_their_factors(tmp_path):
    steps = trained(tmp_path).log("steps").iloc[1:]
    parts = steps[["grad_norm_U", "grad_norm_sigma", "grad_norm_V"]]
    np.testing.assert_allclose((parts**2).sum(axis=1) ** 0.5, steps["grad_norm"], rtol=1e-5)
    assert (steps["grad_norm_P"] > 0).all()


def test_measuring_never_changes_the_training(tmp_path):
    seen = []

    def meddle(record):
        record.prompt.zero_()
        record.row.clear()
        for row in record.evals:
            row["value"] = -1.0
        for factor in record.factors.values():
            factor.zero_()
        torch.rand(5), np.random.default_rng().random(5)
        seen.append(record.step)

    plain = trained(tmp_path, "plain", twin="none", rank_every=100, spectrum_every=100)
    full = trained(tmp_path, "full", rank_every=1, spectrum_every=1, eval_every=3, hooks=[meddle])
    often = trained(tmp_path, "often", checkpoint_every=1)
    assert seen == list(range(7))
    np.testing.assert_array_equal(trajectory(full), trajectory(plain))
    np.testing.assert_array_equal(trajectory(often), trajectory(plain))
    assert "gaussian_n_positive" not in plain.log("steps")
    assert plain.log("steps")["P_erank_rv"].notna().tolist() == [True] + 5 * [False] + [True]


def test_hooks_see_each_step_and_add_columns(tmp_path):
    def hook(record):
        assert record.run_id == "run"
        assert record.row["step"] == record.step
        assert bool(record.evals) == (record.step in (0, 3, 6))
        assert set(record.factors) == {"U", "sigma", "V"}
        return {"largest": float(record.prompt.abs().max())}

    run = trained(tmp_path, hooks=[hook])
    assert run.log("steps")["largest"].iloc[-1] == pytest.approx(np.abs(run.prompt()).max())


def test_what_hooks_may_return(tmp_path):
    run = trained(tmp_path, hooks=[lambda record: {"odd": float("nan"), "step_size": record.step}])
    assert run.log("steps")["odd"].isna().all()
    assert run.log("steps")["step_size"].tolist() == list(range(7))
    with pytest.raises(RunFailed, match="a hook returned the column 'loss', which the log has already"):
        trained(tmp_path, "taken", hooks=[lambda record: {"loss": 0.0}], spectrum_every=1)
    taken = rp.find_run("taken", tmp_path)
    for name in ("steps", "spectra", "evals"):
        assert set(taken.log(name)["step"]) == {0}


def test_the_twin_starts_equal_and_gets_noise_of_the_gradients_norm(tmp_path, monkeypatch):
    noises = []

    def spy(shape, norm, rng):
        noises.append(rank.gaussian_like(shape, norm, rng))
        return noises[-1]

    monkeypatch.setattr(gradients, "gaussian_like", spy)
    steps = trained(tmp_path).log("steps")
    measures = [c for c in steps if c.startswith("P_") or c.startswith("n_")]
    for column in measures:
        assert steps[column].iloc[0] == steps[f"gaussian_{column}"].iloc[0]
    norms = [np.linalg.norm(noise) for noise in noises]
    np.testing.assert_allclose(norms, steps["grad_norm_P"].iloc[1:], rtol=1e-5)
    assert not np.allclose(noises[0], noises[1])
    assert steps["P_erank_rv"].iloc[-1] != steps["gaussian_P_erank_rv"].iloc[-1]


def test_noise_alone_kills_entries_at_the_papers_rate_and_none_at_a_thirtieth(tmp_path):
    """The reason for twins: the count falls without any task."""
    settings = {"prompt_length": 32, "steps": 150, "eval_every": 1000, "batch_size": 2}
    paper = trained(tmp_path, "paper", **settings).log("steps").iloc[-1]
    slow = trained(tmp_path, "slow", **settings, learning_rate=0.01).log("steps").iloc[-1]
    assert paper["gaussian_n_positive"] < 30
    assert slow["gaussian_n_positive"] == 32


def test_schedule_is_hugging_faces():
    total, warmup = 37, 0.1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_linear_schedule_with_warmup(optimizer, int(warmup * total), total)
    for step in range(1, total + 1):
        assert rate_factor(step, total, warmup) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("clip_norm", "used"), [(0.5, 0.5), (1e9, 7.0)])
def test_clipping_is_at_the_norm(clip_norm, used):
    """Read off AdamW's first moment, which after one step is a tenth of the gradient it was given."""
    config = quick(clip_norm=clip_norm, warmup_ratio=0)
    optimization = new_optimization(config, open_session([config]))
    for parameter in optimization.trained.values():
        parameter.grad = torch.randn_like(parameter)
    norm = torch.nn.utils.get_total_norm([p.grad for p in optimization.trained.values()])
    for parameter in optimization.trained.values():
        parameter.grad *= 7.0 / norm
    assert optimization.update(1)["grad_norm"] == pytest.approx(7.0, rel=1e-5)
    moments = [optimization.optimizer.state[p]["exp_avg"] for p in optimization.trained.values()]
    assert torch.nn.utils.get_total_norm(moments).item() == pytest.approx(0.1 * used, rel=1e-4)


def test_best_is_kept_by_the_first_metric_and_last_beside_it(tmp_path, monkeypatch):
    scores = iter([99.0, 10.0, 30.0, 20.0])
    prompts = []

    def fake(eval_set, backbone, prompt_inputs, batch_size):
        value = next(scores)
        prompts.append(prompt_inputs[0].P.numpy().copy())
        row = {"split": "validation", "metric": "accuracy", "value": value, "n_invalid": 2, "n_examples": 7}
        row["baseline"] = 50.0
        return [[row, {**row, "metric": "macro_f1", "value": 100 - value}]]

    monkeypatch.setattr(loop, "evaluate_prompts", fake)
    run = trained(tmp_path, eval_every=2)
    progress = run.manifest["progress"]
    assert (progress["last_invalid"], progress["last_n"]) == (2, 7)
    assert (progress["untrained"], progress["best"], progress["best_step"], progress["last"]) == (
        99,
        30,
        4,
        20,
    )
    np.testing.assert_array_equal(run.prompt("best"), prompts[2])
    np.testing.assert_array_equal(run.prompt("P0"), prompts[0])


def test_load_runs_reads_a_run_that_goes_on(tmp_path):
    seen = []

    def peek(record):
        frames = rp.load_runs(tmp_path)
        seen.append((frames.runs["status"][0], len(frames.steps)))

    trained(tmp_path, hooks=[peek])
    assert seen == [("running", step) for step in range(7)]


def test_nan_loss_fails_the_run_and_keeps_its_logs(tmp_path, monkeypatch):
    real = loop.losses

    calls = iter(range(99))

    def losses(backbone, prompt_inputs, batch):
        values = real(backbone, prompt_inputs, batch)
        return [v * float("nan") for v in values] if next(calls) == 3 else values

    monkeypatch.setattr(loop, "losses", losses)
    with pytest.raises(RunFailed, match=r"run 'run' failed at step 4: loss nan, .*; its logs stay in .*run"):
        trained(tmp_path)
    (run,) = rp.list_runs(tmp_path)
    assert run.manifest["status"] == "failed"
    assert "step 4: loss nan" in run.manifest["error"]
    assert run.log("steps")["step"].tolist() == [0, 1, 2, 3]


def test_a_nan_member_fails_alone(tmp_path, monkeypatch):
    alone = trained(tmp_path, "alone", seed=2)
    real = loop.losses

    def losses(backbone, prompt_inputs, batch):
        values = real(backbone, prompt_inputs, batch)
        return [values[0] * float("nan"), values[1]] if len(values) == 2 else values

    monkeypatch.setattr(loop, "losses", losses)
    configs = [quick(seed=1), quick(seed=2)]
    with pytest.raises(RunFailed, match="run 'a' failed at step 1"):
        rp.train_cohort(configs, runs_dir=tmp_path, names=["a", "b"])
    statuses = {run.id: run.status for run in rp.list_runs(tmp_path)}
    assert statuses == {"alone": "finished", "a": "failed", "b": "finished"}
    np.testing.assert_allclose(rp.find_run("b", tmp_path).prompt(), alone.prompt(), atol=1e-3)


def test_a_backbone_that_moved_fails_the_run(tmp_path, monkeypatch):
    def nudge(record):
        if record.step == 5:
            with torch.no_grad():
                session.backbone.model.shared.weight[4, 4] += 1e-3

    session = open_session([quick()])
    monkeypatch.setattr("rankprobe.training.cohort.open_session", lambda _: session)
    with pytest.raises(RunFailed, match="the frozen backbone changed during training"):
        trained(tmp_path, hooks=[nudge])
    run = rp.find_run("run", tmp_path)
    assert run.status == "failed"
    monkeypatch.undo()
    with pytest.raises(RankprobeError, match="cannot be resumed: its backbone changed during training"):
        rp.resume([run])
    assert fingerprint(session.backbone) != session.backbone_fingerprint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.usefixtures("usual_signals")
def test_a_stop_request_ends_the_step_and_checkpoints(tmp_path, number):
    def stop(record):
        if record.step == 2:
            os.kill(os.getpid(), number)

    whole = trained(tmp_path, "whole")
    with pytest.raises(RunInterrupted, match="stopped after step 2; continue with: rankprobe resume .*/run"):
        trained(tmp_path, hooks=[stop])
    run = rp.find_run("run", tmp_path)
    assert run.manifest["status"] == "interrupted"
    assert run.manifest["progress"]["step"] == 2
    rp.resume([run])
    assert_equal_runs(run, whole)


def test_a_full_disk_fails_with_the_next_move(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    def fill(record):
        if record.step == 3:
            monkeypatch.setattr("rankprobe.runs.files.os.fsync", full)

    whole = trained(tmp_path, "whole", checkpoint_every=2)
    with pytest.raises(RunFailed, match="No space left on device; fix that, then: rankprobe resume .*/run"):
        trained(tmp_path, hooks=[fill], checkpoint_every=2)
    monkeypatch.undo()
    run = rp.find_run("run", tmp_path)
    rp.resume([run])
    assert_equal_runs(run, whole)


def test_resume_refuses_other_data(tmp_path):
    def stop(record):
        if record.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    data = tmp_path / "data" / "CB"
    data.mkdir(parents=True)
    rows = [{"premise": f"p {i}", "hypothesis": "h", "label": i % 3} for i in range(20)]
    for split in ("train", "val"):
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunInterrupted):
        trained(tmp_path / "runs", data=str(data), hooks=[stop])
    run = rp.find_run("run", tmp_path / "runs")
    rows[0]["premise"] = "another"
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RankprobeError, match="run 'run' cannot be resumed: its data is not what it was"):
        rp.resume([run])
    assert run.manifest["status"] == "interrupted"


def test_a_run_that_is_being_written_is_left_alone(tmp_path):
    config = quick()

    def intrude(record):
        for if_exists in ("resume", "overwrite"):
            with pytest.raises(RankprobeError, match="is being written by another process"):
                rp.train(config, runs_dir=tmp_path, name="run", if_exists=if_exists)
        with pytest.raises(RankprobeError, match="is being written by another process"):
            rp.resume([rp.find_run("run", tmp_path)])

    assert rp.train(config, runs_dir=tmp_path, name="run", hooks=[intrude]).status == "finished"


def test_existing_runs(tmp_path):
    first = trained(tmp_path)
    with pytest.raises(RankprobeError, match=r"run exists \(finished\); continue it with --resume"):
        trained(tmp_path)
    created = first.manifest["started"], first.log("steps")
    rp.train(quick(), runs_dir=tmp_path, name="run", if_exists="resume")
    assert first.manifest["started"] == created[0]
    pd.testing.assert_frame_equal(first.log("steps"), created[1])
    with pytest.raises(RankprobeError, match=r"run was started with seed 42, not 9; resume it with its own"):
        rp.train(quick(seed=9), runs_dir=tmp_path, name="run", if_exists="resume")
    with pytest.raises(RankprobeError, match="was started with batch_order 'shared', not 'own'"):
        rp.train(quick(batch_order="own"), runs_dir=tmp_path, name="run", if_exists="resume")
    rp.train(quick(seed=9), runs_dir=tmp_path, name="run", if_exists="overwrite")
    assert first.manifest["seed"] == 9
    (tmp_path / "other").mkdir()
    with pytest.raises(RankprobeError, match="other exists and is no run folder"):
        rp.train(quick(), runs_dir=tmp_path, name="other", if_exists="overwrite")


def test_bfloat16_backbones_train_float32_prompts(tmp_path):
    run = trained(tmp_path, dtype="bfloat16")
    assert run.prompt().dtype == np.float32
    assert run.status == "finished"


def test_a_run_that_stops_early_equals_the_first_part_of_a_whole_run(tmp_path):
    """The learning rate falls over the whole schedule in both."""
    settings = {"steps": None, "epochs": 4, "batch_size": 125, "eval_every": 1, "method": "probe"}
    whole = trained(tmp_path, "whole", **settings)
    early = trained(tmp_path, "early", **settings, stop_after=2)
    assert early.status == "finished"
    assert early.manifest["progress"]["total_steps"] == 4
    assert whole.manifest["progress"]["total_steps"] == 8
    for name in ("steps", "evals"):
        log = whole.log(name)
        first = log[log["step"] <= 4].reset_index(drop=True)
        pd.testing.assert_frame_equal(early.log(name), first, check_exact=True)
    assert early.log("spectra")["step"].max() == 4


def test_stopping_after_the_last_epoch_is_refused():
    with pytest.raises(RankprobeError, match="--stop-after 5 is more than --epochs 4; give an earlier one"):
        quick(steps=None, epochs=4, stop_after=5)


def test_a_run_of_an_earlier_version_goes_on_in_its_own_order_of_batches(tmp_path):
    """Its manifest has no `batch_order`."""
    whole = trained(tmp_path, "whole", batch_order="own")

    def stopping(record):
        if record.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterrupted):
        trained(tmp_path, "run", batch_order="own", hooks=[stopping])
    path = tmp_path / "run" / "manifest.json"
    manifest = read_checked_json(path)
    del manifest["config"]["batch_order"]
    write_checked_json(path, manifest)
    assert_equal_runs(rp.train(quick(), runs_dir=tmp_path, name="run", if_exists="resume"), whole)


def never_better(monkeypatch, *, last_improves=False):
    """The scores of all runs are best at step 1, or of all but the last one, which becomes better and better."""

    def scored(eval_set, backbone, prompts, batch_size):
        scored.calls += 1
        rows = [{"split": "validation", "scoring": "greedy", "metric": "accuracy", "n_examples": 1,
                 "n_invalid": 0, "baseline": 0.0}] * len(prompts)  # fmt: skip
        values = [1.0 if scored.calls > 2 else 2.0] * len(prompts)
        values[-1] = float(scored.calls) if last_improves else values[-1]
        return [[{**row, "value": value}] for row, value in zip(rows, values, strict=True)]

    scored.calls = 0
    monkeypatch.setattr(loop, "evaluate_prompts", scored)


def test_a_run_ends_when_its_patience_does_and_its_cohort_goes_on(tmp_path, monkeypatch):
    never_better(monkeypatch, last_improves=True)
    configs = [quick(method="probe", seed=seed, steps=9, eval_every=1, patience=3) for seed in (1, 2)]
    impatient, other = rp.train_cohort(configs, runs_dir=tmp_path)
    assert (impatient.status, other.status) == ("finished", "finished")
    progress = impatient.manifest["progress"]
    assert (progress["best_step"], progress["step"]) == (1, 4)
    assert impatient.log("steps")["step"].tolist() == [0, 1, 2, 3, 4]
    assert impatient.log("spectra")["step"].max() == 4
    assert other.log("steps")["step"].max() == 9


def test_a_kill_at_the_end_of_patience_trains_no_further_step(tmp_path, monkeypatch):
    never_better(monkeypatch)
    monkeypatch.setattr(loop, "finish", lambda *_: 1 / 0)
    config = quick(method="probe", steps=9, eval_every=1, checkpoint_every=100, patience=3)
    with pytest.raises(RunFailed):
        rp.train(config, runs_dir=tmp_path, name="run")
    monkeypatch.undo()
    assert last_checkpoint(tmp_path / "run" / CHECKPOINTS) == 4
    (run,) = rp.resume([Run(tmp_path / "run")])
    assert run.status == "finished"
    assert run.log("steps")["step"].max() == 4
