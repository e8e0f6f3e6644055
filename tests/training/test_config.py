"""The config: the paper's defaults, strictness, and one flat name per setting."""

from __future__ import annotations

import re
import shutil

import pytest

from rankprobe.bundled import FOLDER
from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS
from rankprobe.runs.contract import ADDED_SETTINGS, completed
from rankprobe.training.config import BackboneConfig, RunConfig, leaves


def test_defaults_are_the_papers_protocol():
    flat = RunConfig()
    assert flat.method.model_dump() == {
        "name": "probe", "prompt_length": 100, "rank": None, "sigma_init": "ones",
        "factor_init": "normal", "factor_scale": 1.0, "gate": "relu", "orthogonality": 0.0,
        "init": "vocabulary", "init_text": None, "init_from": None, "init_scale": 0.5, "vocabulary": 5000,
    }  # fmt: skip
    assert flat.training.model_dump() == {
        "learning_rate": 0.3, "weight_decay": 1e-5, "batch_size": 16, "epochs": 100, "steps": None,
        "warmup": 0.1, "clip_norm": 1.0, "batching": "length",
    }  # fmt: skip
    assert (flat.task.max_source_length, flat.task.targets, flat.seed) == (256, "digits", 42)
    assert not flat.backbone.dropout


def test_flat_names_are_unique_and_reach_their_leaf():
    names = [name for name, *_ in leaves()]
    assert len(set(names)) == len(names)
    config = RunConfig.from_flat({"method": "dpt", "bottleneck": 3, "seed": 5, "data": "hub"})
    assert config.method.model_dump()["bottleneck"] == 3
    assert (config.seed, config.task.data) == (5, "hub")


def test_a_saved_config_is_the_config():
    for method in METHODS:
        config = RunConfig.from_flat({"method": method, "learning_rate": 0.01})
        assert RunConfig.parse(config.tree()) == config


def test_flags_override_a_file_and_another_method_drops_its_settings():
    file = {"seed": 3, "method": {"name": "dpt", "bottleneck": 4}, "training": {"epochs": 7, "batch_size": 2}}
    config = RunConfig.from_flat({"epochs": 9}, base=file)
    assert (config.seed, config.training.epochs, config.training.batch_size) == (3, 9, 2)
    assert config.method.model_dump()["bottleneck"] == 4
    assert RunConfig.from_flat({"method": "vanilla"}, base=file).method.name == "vanilla"
    unnamed = {"method": {"prompt_length": 20, "bottleneck": 4}}
    named = RunConfig.from_flat({"method": "dpt"}, base=unnamed).method.model_dump()
    assert (named["prompt_length"], named["bottleneck"]) == (20, 4)
    longer = {"method": {"name": "dpt", "bottleneck": 4, "prompt_length": 20}}
    assert RunConfig.from_flat({"method": "probe"}, base=longer).method.prompt_length == 20
    assert file["method"] == {"name": "dpt", "bottleneck": 4}


def test_paths_become_absolute_and_keywords_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bundled", "hub", "mine"):
        (tmp_path / name).mkdir()
        expected = str(tmp_path / name) if name == "mine" else name
        assert RunConfig.from_flat({"data": name}).task.data == expected
    assert RunConfig.from_flat({"model": "mine"}).backbone.model == str(tmp_path / "mine")
    assert RunConfig.from_flat({"model": "t5-base"}).backbone.model == "t5-base"


def test_run_ids_tell_configs_apart():
    ids = {RunConfig.from_flat(flat).run_id for flat in ({}, {"seed": 1}, {"warmup": 0.2}, {"method": "dpt"})}
    assert len(ids) == 4
    assert RunConfig().run_id == RunConfig().run_id
    assert re.fullmatch(r"cb-probe-tiny-s42-[0-9a-f]{6}", RunConfig().run_id)


def run_id(**flat) -> str:
    return RunConfig.from_flat(flat).run_id


def test_a_run_id_hashes_what_changes_the_result_and_differs_from_its_default():
    for name, value in (
        ("device", "cuda"), ("device_map", "auto"), ("gradient_checkpointing", True), ("checkpoint_every", 7),
        ("learning_rate", 0.3), ("data", "bundled"), ("twin", True), ("dtype", None), ("batch_size", 16),
    ):  # fmt: skip
        assert run_id(**{name: value}) == run_id(), name
    for name, value in (
        ("learning_rate", 0.2), ("data", "bundled-500"), ("twin", False), ("dtype", "float64"),
        ("eval_every", 3), ("rank_every", 2), ("spectrum_every", 2), ("dropout", True), ("bottleneck", 9),
    ):  # fmt: skip
        method = {"method": "dpt"} if name == "bottleneck" else {}
        assert run_id(**method, **{name: value}) != run_id(**method), name
    # A method's own default, and a dtype that is the device's.
    assert run_id(method="finetune", learning_rate=3e-4) == run_id(method="finetune")
    assert (
        run_id(model="t5-base", data="hub")
        == run_id(model="t5-base")
        != run_id(model="t5-base", data="bundled")
    )
    assert run_id(device="cuda", dtype="bfloat16") == run_id(device="cpu", dtype="float32") == run_id()
    assert run_id(device="cuda", dtype="float32") != run_id() != run_id(device="cpu", dtype="bfloat16")
    assert RunConfig(seed=3).identity() == {"task": "cb", "model": "tiny", "method": "probe", "seed": 3}


def test_rows_come_from_the_hub_unless_the_model_is_ours(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER / "tiny", folder)
    for model, data in (
        ("tiny", "bundled"), ("mini", "bundled"), ("random:t5-base", "bundled"), (str(folder), "bundled"),
        ("t5-base", "hub"), ("google/t5-v1_1-base", "hub"), (str(tmp_path / "other"), "hub"),
    ):  # fmt: skip
        assert RunConfig.from_flat({"model": model}).task.data == data, model
        assert RunConfig(backbone=BackboneConfig(model=model)).task.data == data, model
        assert RunConfig.from_flat({"model": model, "data": "bundled-500"}).task.data == "bundled-500"
    (folder / "tokenizer.json").write_text("{}")
    assert RunConfig.from_flat({"model": str(folder)}).task.data == "hub"
    # A task of one's own names its files.
    for own in ({}, {"data": "bundled"}, {"data": "bundled-500"}, {"model": "t5-base"}):
        assert RunConfig.from_flat({"task": "reviews.toml", **own}).task.data is None
    assert RunConfig.from_flat({"task": "reviews.toml", "data": str(tmp_path)}).task.data == str(tmp_path)


def test_a_manifest_without_a_setting_means_what_was_done_before_there_was_one(monkeypatch):
    monkeypatch.setitem(ADDED_SETTINGS, ("training", "label_smoothing"), 0.0)
    monkeypatch.setitem(ADDED_SETTINGS, ("method.dpt", "dropout_rate"), 0.5)
    before = {"seed": 1, "training": {"steps": 3}, "method": {"name": "dpt"}}
    assert completed(before) == {
        "seed": 1,
        "training": {"steps": 3, "label_smoothing": 0.0},
        "method": {"name": "dpt", "dropout_rate": 0.5},
    }
    assert completed({"training": {"label_smoothing": 0.1}})["training"] == {"label_smoothing": 0.1}
    assert "dropout_rate" not in completed({"method": {"name": "probe"}})["method"]
    assert before["training"] == {"steps": 3}


FIRST_SETTINGS = """
seed task data form targets answers max_source_length shots balanced control report_split model tokenizer dtype
dropout gradient_checkpointing model_seed device device_map method prompt_length init init_text init_from init_scale
vocabulary factor_init factor_scale rank sigma_init gate orthogonality bottleneck hidden separate layer_norm code
dimension update_rank update_positions update_rate learning_rate weight_decay batch_size epochs steps warmup clip_norm
batching twin rank_every spectrum_every eval_every checkpoint_every
"""


def test_every_setting_has_a_meaning_in_the_first_manifests():
    added = {name for _, name in ADDED_SETTINGS}
    assert {name for name, *_ in leaves()} == set(FIRST_SETTINGS.split()) | added, (
        "add a line to ADDED_SETTINGS"
    )


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"lerning_rate": 1}, "unknown setting 'lerning_rate'; did you mean 'learning_rate'?"),
        ({"method": "vanila"}, "unknown method 'vanila'; did you mean 'vanilla'?"),
        ({"method": "vanilla", "bottleneck": 5}, "method 'vanilla' has no 'bottleneck'; methods that have it: dpt"),
        ({"bottleneck": 5}, "method 'probe' has no 'bottleneck'; methods that have it: dpt"),
        ({"prompt_length": 0}, "prompt_length is 0; expected greater than 0"),
        ({"method": "dpt", "bottleneck": -1}, "bottleneck is -1; expected greater than 0"),
        ({"steps": 0}, "steps is 0; expected greater than 0"),
        ({"steps": 2.5}, "steps is 2.5; expected a valid integer"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; expected a finite number"),
        ({"warmup": 1.5}, "warmup is 1.5; expected less than or equal to 1"),
        ({"answers": "both?"}, "answers is 'both?'; expected 'greedy', 'rank' or 'both'"),
        ({"shots": 0}, "shots is 0; expected greater than 0"),
        ({"dtype": "float16"}, "float16 overflows in T5's feed-forward layers and gives NaN; use bfloat16 or float32"),
    ],
)  # fmt: skip
def test_bad_settings(flat, message):
    with pytest.raises(RankprobeError, match=re.escape(message)):
        RunConfig.from_flat(flat)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"trainin": {}}, "unknown setting 'trainin'; did you mean 'training'?"),
        ({"training": {"epoch": 3}}, "unknown setting 'epoch'; did you mean 'epochs'?"),
        ({"task": {"name": 3}}, "task name is 3; expected a valid string"),
        ({"method": "dpt"}, "method = 'dpt' belongs in the table [method], as name = 'dpt'"),
        ({"epochs": 3}, "epochs = 3 belongs in the table [training], as epochs = 3"),
        ({"training": 3}, "training is 3; expected a table"),
    ],
)
def test_bad_files(tree, message):
    with pytest.raises(RankprobeError, match=re.escape(message)):
        RunConfig.from_flat({}, base=tree)


def test_every_setting_says_what_it_is():
    for name, _, _, field in leaves():
        assert field.description, name
