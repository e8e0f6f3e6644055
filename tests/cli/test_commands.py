"""The commands, end to end on the bundled task."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.cli.lines import number_range
from rankprobe.twins import twins_of

QUICK = ["--prompt-length", "8", "--steps", "6", "--batch-size", "8", "--spectrum-every", "2"]


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_probe_then_plot_then_runs(here, capsys):
    run("probe", *QUICK)
    printed = capsys.readouterr().out
    (one,) = rp.list_runs("runs")
    steps = one.log("steps").iloc[-1]
    assert f"{one.id}  step 6/6  loss" in printed
    assert "  data                   miniature CB (ours, not SuperGLUE), 250 train, 56 dev" in printed
    assert "  weights                tiny (rankprobe's own)" in printed
    assert f"8 → {steps['n_positive']:.0f}" in printed
    twins = [steps[column] for column in twins_of(steps.index, "n_positive").values()]
    assert f"noise twins 8 → {number_range(twins)}" in printed
    assert "baseline 41.1" in printed
    assert f"runs/{one.id}" in printed
    run("plot")
    assert {path.name for path in (here / "figures").iterdir()} == {
        "fig3.png", "fig3.svg", "fig3.json", "fig9.png", "fig9.svg", "fig9.json",
    }  # fmt: skip
    capsys.readouterr()
    run("runs")
    table = capsys.readouterr().out
    assert one.id in table
    assert "6/6" in table
    assert f"{steps['n_positive']:.0f} ({steps['gaussian_n_positive']:.0f})" in table
    run("probe", *QUICK, "--resume")
    run("resume", one.id)


@pytest.mark.parametrize(
    ("command", "stop_after"),
    [
        ("probe", 50),
        ("probe --runs-dir elsewhere --name demo", 50),
        ("probe --task cb", None),
        ("probe --seed 1", None),
        ("probe --config own.toml", None),
        ("train", None),
        ("train --method probe", None),
    ],
)
def test_only_a_probe_without_settings_is_a_demonstration(here, monkeypatch, command, stop_after):
    (here / "own.toml").write_text("")
    trained = []
    monkeypatch.setattr("rankprobe.cli.app._train", lambda configs, *_: trained.extend(configs))
    run(*command.split())
    assert [config.stop_after for config in trained] == [stop_after]


def test_train_by_method_seeds_and_file(here):
    (here / "dpt.toml").write_text('seed = 3\nmethod = "dpt"\nbottleneck = 2\nwarmup_ratio = 0.5\n')
    run("train", "--config", "dpt.toml", *QUICK, "--warmup-ratio", "0.25")
    run("plot")  # no probe: fig9 is drawn, fig3 is left out
    assert {path.suffix for path in (here / "figures").glob("fig9.*")} == {".png", ".svg", ".json"}
    assert not list((here / "figures").glob("fig3.*"))
    run("train", "--method", "vanilla", "--seed", "1", "--seed", "2", *QUICK)
    runs = rp.load_runs("runs").runs.set_index("run_id").sort_values(["method", "seed"])
    assert runs["method"].tolist() == ["dpt", "vanilla", "vanilla"]
    assert runs["seed"].tolist() == [3, 1, 2]
    assert runs["bottleneck"].iloc[0] == 2
    assert runs["warmup_ratio"].tolist() == [0.25, 0.1, 0.1]
    assert runs["trainable_parameters"].tolist() == [2 * (8 + 128), 8 * 128, 8 * 128]


def test_probe_refuses_another_method(here):
    from rankprobe.errors import RankprobeError

    with pytest.raises(RankprobeError, match="^method is 'dpt', but probe trains the probe; use rp.train$"):
        rp.probe(method="dpt", bottleneck=10)
    assert not (here / "runs").exists()
    Path("run.toml").write_text('method = "probe"\nmodel = "random:tiny"\nprompt_length = 4\nsteps = 1\n')
    run("probe", "--config", "run.toml", "--name", "one")
    assert rp.find_run("one").manifest["config"]["method"] == "probe"


def test_flags_with_underscores_are_the_same_flags(here):
    run("probe", "--prompt_length", "4", "--steps", "1", "--name", "one", "--runs_dir", "elsewhere")
    assert rp.find_run("one", "elsewhere").prompt().shape == (4, 128)


def test_lists(here, capsys):
    for command, words in (
        ("methods", ["dpt", "6,120", "8,680", "11,240", "51,200", "76,800", "102,400", "probe"]),
        (
            "tasks",
            [
                "cb",
                "entailment, contradiction, neutral",
                "accuracy, macro_f1",
                "record",
                "text",
                "bundled-500",
            ],
        ),
        ("env", ["torch", "transformers", "threads"]),
    ):
        run(command)
        printed = capsys.readouterr().out
        assert all(word in printed for word in words)


def test_a_task_is_shown_as_a_run_would_use_it(here, capsys):
    run("tasks", "show", "cb", "--targets", "yes,no,maybe")
    printed = capsys.readouterr().out
    for part in (
        "miniature CB",
        "250 examples",
        "entailment 108 (43%), contradiction 92 (37%), neutral 50 (20%)",
        "baseline         accuracy 41.1, macro_f1 19.4 (validation, without reading the texts)",
        "premise: Wanda waited for news on Friday. It is a lie that",
        "target           yes",
    ):
        assert part in printed
    run("tasks", "show", "wsc")
    assert "*she*" in capsys.readouterr().out


def test_help_groups_options_and_names_every_setting(here, capsys):
    from rankprobe.config import all_settings

    run("train", "--help")
    printed = capsys.readouterr().out
    for panel in ("Task", "Backbone", "Method", "Training", "Logging"):
        assert f"─ {panel} ─" in printed
    for name in all_settings():
        assert f"--{name.replace('_', '-')}" in printed
    run()
    assert "Train the paper's rank probe" in capsys.readouterr().out


def test_commands_that_only_read_do_not_import_torch(tmp_path):
    """`--help`, `runs` and `plot` start quickly, and work without a working torch."""
    code = (
        "import sys, rankprobe, rankprobe.cli.app, rankprobe.plots, rankprobe.runs, rankprobe.rank\n"
        "rankprobe.load_runs\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_rows_that_a_run_uses_count_as_shortened(tmp_path):
    run = rp.train(quick(shots=2, max_source_length=12, steps=1), runs_dir=tmp_path)
    data = run.manifest["data"]
    assert data["n_shortened"] == data["n_train"] + data["n_validation"]
    assert 0 < data["n_cut"] <= data["n_shortened"]


def test_official_rows_and_tokenizer(here, superglue, t5_tokenizer):
    arguments = [
        "--data",
        str(superglue),
        "--model",
        "random:tiny",
        "--tokenizer",
        str(t5_tokenizer),
        "--targets",
        "words",
    ]
    run("probe", *QUICK, *arguments, "--name", "one")
    manifest = rp.find_run("one").manifest
    assert manifest["data"]["label"] == "CB"
    assert manifest["data"]["n_shortened"] == 3
    assert manifest["data"]["source"] == "folder"
