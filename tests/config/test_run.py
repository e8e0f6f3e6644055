"""The config: the paper's defaults, strictness, and one flat name per setting."""

from __future__ import annotations

import re
import shutil

import pytest

from rankprobe.bundled import FOLDER
from rankprobe.config import RunConfig, TrainingConfig, all_settings, methods_with, override
from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS
from rankprobe.prompts.config import DPTConfig
from rankprobe.runs.contract import ADDED_SETTINGS, upgraded


def test_defaults_are_the_papers_protocol():
    config = RunConfig()
    assert config.method.model_dump() == {
        "name": "probe", "prompt_length": 100, "rank": None, "sigma_init": "ones",
        "factor_init": "normal", "factor_scale": 1.0, "gate": "relu", "orthogonality": 0.0, "orthonormal": False,
        "init": "vocabulary", "init_text": None, "init_from": None, "init_scale": 0.5, "init_vocab_size": 5000,
    }  # fmt: skip
    assert config.section(TrainingConfig) == {
        "learning_rate": 0.3, "weight_decay": 1e-5, "batch_size": 16, "epochs": 100, "steps": None,
        "warmup_ratio": 0.1, "clip_norm": 1.0, "batching": "length", "batch_order": "shared",
        "stop_after": None, "patience": None, "init_seed": None,
    }  # fmt: skip
    assert (config.max_source_length, config.targets, config.seed) == (256, "digits", 42)
    assert not config.dropout


def test_a_setting_has_one_name_in_keywords_sections_and_manifests():
    config = RunConfig.parse({"method": "dpt", "bottleneck": 3, "seed": 5, "data": "hub"})
    assert config.method.model_dump()["bottleneck"] == 3
    assert (config.seed, config.data) == (5, "hub")
    assert set(config.flat()) == {
        name for name in all_settings() if not methods_with(name) or "dpt" in methods_with(name)
    }
    assert RunConfig(method=DPTConfig(bottleneck=3), seed=5, data="hub") == config


def test_a_saved_config_is_the_config():
    for method in METHODS:
        config = RunConfig.parse({"method": method, "learning_rate": 0.01})
        assert RunConfig.parse(config.flat()) == config


def test_flags_override_a_file_and_another_method_drops_its_settings():
    file = {"seed": 3, "method": "dpt", "bottleneck": 4, "epochs": 7, "batch_size": 2}
    config = RunConfig.parse(override(file, {"epochs": 9}))
    assert (config.seed, config.epochs, config.batch_size) == (3, 9, 2)
    assert config.method.model_dump()["bottleneck"] == 4
    assert RunConfig.parse(override(file, {"method": "vanilla"})).method.name == "vanilla"
    unnamed = {"prompt_length": 20, "bottleneck": 4}
    named = RunConfig.parse(override(unnamed, {"method": "dpt"})).method.model_dump()
    assert (named["prompt_length"], named["bottleneck"]) == (20, 4)
    longer = {"method": "dpt", "bottleneck": 4, "prompt_length": 20}
    assert RunConfig.parse(override(longer, {"method": "probe"})).method.prompt_length == 20
    assert file == {"seed": 3, "method": "dpt", "bottleneck": 4, "epochs": 7, "batch_size": 2}


def test_paths_become_absolute_and_keywords_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bundled", "hub", "mine"):
        (tmp_path / name).mkdir()
        expected = str(tmp_path / name) if name == "mine" else name
        assert RunConfig.parse({"data": name}).data == expected
    assert RunConfig.parse({"model": "mine"}).model == str(tmp_path / "mine")
    assert RunConfig.parse({"model": "t5-base"}).model == "t5-base"


def test_run_ids_tell_configs_apart():
    ids = {
        RunConfig.parse(flat).run_id for flat in ({}, {"seed": 1}, {"warmup_ratio": 0.2}, {"method": "dpt"})
    }
    assert len(ids) == 4
    assert RunConfig().run_id == RunConfig().run_id
    assert re.fullmatch(r"cb-probe-tiny-s42-[0-9a-f]{6}", RunConfig().run_id)


def run_id(**flat) -> str:
    return RunConfig.parse(flat).run_id


def test_a_run_id_hashes_what_changes_the_result_and_differs_from_its_default():
    for name, value in (
        ("device", "cuda"), ("device_map", "auto"), ("gradient_checkpointing", True), ("checkpoint_every", 7),
        ("learning_rate", 0.3), ("data", "bundled"), ("twin", "flip-block,haar,gaussian,flip-example"), ("dtype", None), ("batch_size", 16),
    ):  # fmt: skip
        assert run_id(**{name: value}) == run_id(), name
    for name, value in (
        ("learning_rate", 0.2), ("data", "bundled-500"), ("twin", "none"), ("dtype", "float64"),
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
        assert RunConfig.parse({"model": model}).data == data, model
        assert RunConfig(model=model).data == data, model
        assert RunConfig.parse({"model": model, "data": "bundled-500"}).data == "bundled-500"
    (folder / "tokenizer.json").write_text("{}")
    assert RunConfig.parse({"model": str(folder)}).data == "hub"
    # A task of one's own names its files.
    for own in ({}, {"data": "bundled"}, {"data": "bundled-500"}, {"model": "t5-base"}):
        assert RunConfig.parse({"task": "reviews.toml", **own}).data is None
    assert RunConfig.parse({"task": "reviews.toml", "data": str(tmp_path)}).data == str(tmp_path)


def test_a_manifest_without_a_setting_means_what_was_done_before_there_was_one(monkeypatch):
    monkeypatch.setitem(ADDED_SETTINGS, ("", "label_smoothing"), 0.0)
    monkeypatch.setitem(ADDED_SETTINGS, ("dpt", "dropout_rate"), 0.5)

    def read(**config):
        return upgraded({"format": 3, "config": config, "progress": {}})["config"]

    before, since = (
        {"seed": 1, "steps": 3, "method": "dpt"},
        {"stop_after": None, "patience": None, "twin_draws": 1, "init_seed": None, "train_half": "all"},
    )
    assert read(**before) == {
        **before, **since, "batch_order": "own", "label_smoothing": 0.0, "dropout_rate": 0.5
    }  # fmt: skip
    assert read(label_smoothing=0.1) == {**since, "batch_order": "own", "label_smoothing": 0.1}
    assert "dropout_rate" not in read(method="probe")


@pytest.mark.parametrize("format", [1, 2])
def test_manifests_of_earlier_formats_are_read_in_the_words_of_this_one(format):
    tree = {
        "seed": 1,
        "task": {"name": "cb", "form": "authors", "answers": "rank"},
        "method": {"name": "vanilla", "vocabulary": 12},
        "training": {"warmup": 0.2},
    }
    found = upgraded(
        {"format": format, "config": tree, "progress": {"majority": 41.0, "report_majority": 40.0}}
    )
    assert found["config"] == {
        "seed": 1, "task": "cb", "template": "authors", "scoring": "rank", "method": "vanilla",
        "init_vocab_size": 12, "warmup_ratio": 0.2, "batch_order": "own", "stop_after": None, "patience": None,
        "twin_draws": 1, "init_seed": None, "train_half": "all",
    }  # fmt: skip
    assert found["progress"] == {"baseline": 41.0, "report_baseline": 40.0}
    assert upgraded(found) == found
    assert RunConfig.parse(found["config"]).scoring == "rank"


FIRST_SETTINGS = """
seed task data template targets scoring max_source_length shots balanced control report_split model tokenizer dtype
dropout gradient_checkpointing model_seed device device_map method prompt_length init init_text init_from init_scale
init_vocab_size factor_init factor_scale rank sigma_init gate orthogonality bottleneck hidden separate layer_norm code
dimension update_rank update_positions update_rate learning_rate weight_decay batch_size epochs steps warmup_ratio clip_norm
batching twin rank_every spectrum_every eval_every checkpoint_every
"""


def test_every_setting_has_a_meaning_in_the_first_manifests():
    added = {name for _, name in ADDED_SETTINGS}
    assert set(all_settings()) == set(FIRST_SETTINGS.split()) | added, "add a line to ADDED_SETTINGS"


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"answers": "rank"}, "setting 'answers' is named 'scoring' now"),
        ({"lerning_rate": 1}, "unknown setting 'lerning_rate'; did you mean 'learning_rate'?"),
        ({"method": "vanila"}, "unknown method 'vanila'; did you mean 'vanilla'?"),
        ({"method": "vanilla", "bottleneck": 5}, "method 'vanilla' has no 'bottleneck'; methods that have it: dpt"),
        ({"bottleneck": 5}, "method 'probe' has no 'bottleneck'; methods that have it: dpt"),
        ({"prompt_length": 0}, "prompt_length is 0; expected greater than 0"),
        ({"method": "dpt", "bottleneck": -1}, "bottleneck is -1; expected greater than 0"),
        ({"steps": 0}, "steps is 0; expected greater than 0"),
        ({"steps": 2.5}, "steps is 2.5; expected a valid integer"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; expected a finite number"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5; expected less than or equal to 1"),
        ({"scoring": "both?"}, "scoring is 'both?'; expected 'greedy', 'rank' or 'both'"),
        ({"shots": 0}, "shots is 0; expected greater than 0"),
        ({"dtype": "float16"}, "float16 overflows in T5's feed-forward layers and gives NaN; use bfloat16 or float32"),
    ],
)  # fmt: skip
def test_bad_settings(flat, message):
    with pytest.raises(RankprobeError, match=re.escape(message)):
        RunConfig.parse(flat)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'?"),
        ({"task": 3}, "task is 3; expected a valid string"),
        ({"training": {"epochs": 3}}, "[training] is a table, and settings are flat; write epochs = 3 without a table"),
        ({"method": {"name": "dpt"}}, "[method] is a table, and settings are flat; write method = 'dpt' without a"),
        ({"training": {}}, "[training] is a table, and settings are flat"),
        ({"training": 3}, "unknown setting 'training'"),
    ],
)  # fmt: skip
def test_bad_files(file, message):
    with pytest.raises(RankprobeError, match=re.escape(message)):
        RunConfig.parse(file)


def test_every_setting_says_what_it_is():
    for name, (_, field) in all_settings().items():
        assert field.description, name
