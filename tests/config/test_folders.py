"""A config finds its run: by its id, and by its settings where an earlier version gave another id."""

from __future__ import annotations

import json

import pytest
from conftest import assert_equal_runs, quick

import rankprobe as rp
from rankprobe.config.folders import run_folder
from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.runs.checksums import write_checked_json
from rankprobe.sweeps import is_finished


def as_before(run, name):
    """The run as an earlier version left it: another id, manifest format 1."""
    run.update({"format": 1, "cohort": [name]})
    return rp.runs.Run(run.path.rename(run.path.with_name(name)))


def interrupted(tmp_path, config):
    def stop(record):
        if record.step == 4:
            raise RunInterrupted("stop")

    with pytest.raises(RunInterrupted):
        rp.train(config, runs_dir=tmp_path, hooks=[stop])
    return rp.find_run(config.run_id, tmp_path)


def test_a_run_of_an_earlier_version_goes_on_under_its_own_id(tmp_path):
    config = quick(checkpoint_every=2)
    whole = rp.train(config, runs_dir=tmp_path / "whole")
    name = f"{config.id_stem}0ld1d0"
    old = as_before(interrupted(tmp_path / "runs", config), name)
    assert old.status == "interrupted"
    run = rp.train(config, runs_dir=tmp_path / "runs", if_exists="resume")
    assert run.id == name
    assert_equal_runs(run, whole)
    assert run_folder(quick(checkpoint_every=2, warmup_ratio=0.2), tmp_path / "runs").name != name
    with pytest.raises(RankprobeError, match=f"{name} exists .finished."):
        rp.train(config, runs_dir=tmp_path / "runs")


def test_a_finished_run_with_the_earlier_names_of_its_settings_stays_finished(tmp_path):
    """Manifest format 2: a table per section, and `warmup` and `answers` in the hashed settings."""
    config = quick(warmup_ratio=0.2, scoring="both")
    run = rp.train(config, runs_dir=tmp_path)
    scores = rp.load_runs(tmp_path).evals
    flat = run.manifest["config"]
    tree = {"seed": flat["seed"], "task": {"name": flat["task"], "answers": flat["scoring"]}}
    tree |= {"method": {"name": flat["method"], "vocabulary": flat["init_vocab_size"]}}
    tree |= {
        "training": {"warmup": flat["warmup_ratio"], "steps": flat["steps"], "batch_size": flat["batch_size"]}
    }
    tree["method"]["prompt_length"] = flat["prompt_length"]
    tree["logging"] = {name: flat[name] for name in ("eval_every", "spectrum_every")}
    tree["backbone"] = {name: flat[name] for name in ("model", "dtype", "device")}
    progress = {"majority" if name == "baseline" else name: v for name, v in run.manifest["progress"].items()}
    content = json.loads((run.path / "manifest.json").read_text())
    content |= {
        "format": 2,
        "config": tree | {"task": tree["task"] | {"data": "bundled"}},
        "progress": progress,
    }
    old = run.path.rename(tmp_path / f"{config.id_stem}0ld1d0")
    write_checked_json(old / "manifest.json", {k: v for k, v in content.items() if k != "sha256"})
    assert run_folder(config, tmp_path) == old
    assert is_finished(old)
    assert run_folder(quick(warmup_ratio=0.3, scoring="both"), tmp_path) != old
    frames = rp.load_runs(tmp_path)
    assert frames.runs["baseline"].notna().all()
    assert frames.evals["scoring"].tolist() == scores["scoring"].tolist() != []


def test_a_damaged_manifest_is_not_mistaken_for_the_run(tmp_path):
    config = quick()
    folder = tmp_path / f"{config.id_stem}0ld1d0"
    folder.mkdir()
    (folder / "manifest.json").write_text("{")
    assert run_folder(config, tmp_path) == tmp_path / config.run_id


def test_a_run_goes_on_with_other_neutral_settings_and_no_others(tmp_path):
    config = quick(checkpoint_every=2)
    whole = rp.train(config, runs_dir=tmp_path / "whole")
    run = interrupted(tmp_path / "runs", config)
    with pytest.raises(
        RankprobeError,
        match="was started with twin 'gaussian,haar,flip-example,flip-block', not 'none'; resume it with its own",
    ):
        rp.train(quick(twin="none"), runs_dir=tmp_path / "runs", name=run.id, if_exists="resume")
    again = quick(checkpoint_every=3, device="cpu")
    assert again.run_id == run.id
    assert_equal_runs(rp.train(again, runs_dir=tmp_path / "runs", if_exists="resume"), whole)


def test_a_run_goes_on_in_the_dtype_it_was_started_with(tmp_path):
    run = interrupted(tmp_path, quick(dtype="bfloat16"))
    config = quick()
    assert config.dtype is None
    done = rp.train(config, runs_dir=tmp_path, name=run.id, if_exists="resume")
    assert done.manifest["config"]["dtype"] == "bfloat16"
    assert done.status == "finished"
