"""Bad input gives one or two clear lines, the documented exit code, and loses nothing."""

from __future__ import annotations

import json

import pytest

from rankprobe.cli import main

ROW = {"premise": "It rained.", "hypothesis": "it was wet", "label": "neutral"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with some bad files in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("seed = = 3")
    (tmp_path / "key.toml").write_text("[training]\nlearning_rat = 3\n")
    (tmp_path / "method.toml").write_text('[method]\nname = "vanilla"\nbottleneck = 3\n')
    for name, row in (
        ("field", {k: v for k, v in ROW.items() if k != "premise"}),
        ("label", {**ROW, "label": "perhaps"}),
    ):
        folder = tmp_path / name / "CB"
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps(row) + "\n")
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("probe --targets letters", "error: targets is 'letters'; expected digits, words, or 3 different words with commas between, for entailment, contradiction, neutral"),
        ("probe --shots 251", "error: shots is 251, and there are 250 training examples"),
        ("probe --task wsc --answers rank", "error: WSC has no set of answers to rank; use --answers greedy"),
        ("probe --task none.toml", "error: task 'none.toml' cannot be read (No such file or directory)"),
        ("probe --task none/", "error: task 'none/' is no folder and no TOML file; see: rankprobe tasks"),
        ("probe --balanced", "error: balanced says how shots are drawn, and there are none; give --shots too"),
        ("tasks show cbb", "error: unknown task 'cbb'; did you mean 'cb'?"),
        ("probe --task cbb", "error: unknown task 'cbb'; did you mean 'cb'? (valid: boolq, cb, copa, multirc, record, rte, wic, wsc)"),
        ("train --method dptt", "error: unknown method 'dptt'; did you mean 'dpt'? (valid: dept, dpt, finetune, probe, residual, subspace, ulpt, vanilla)"),
        ("probe --model random:t5-smal", "error: unknown model 'random:t5-smal'; did you mean 'random:t5-small'? (valid: random:t5-base, random:t5-large, random:t5-small, random:tiny)"),
        ("probe --model t5-base", "error: model 't5-base' is not in the cache and the hub cannot be reached ("),
        ("probe --data hub", "give a local folder: --data FOLDER with CB/train.jsonl and val.jsonl"),
        ("probe --model random:t5-small", "give one: --tokenizer FOLDER (or a hub id)"),
        ("probe --model ./none", "error: model folder './none' does not exist; give a folder or a hub id such as t5-base"),
        ("probe --data ./none", "error: data 'none' is no folder; give 'bundled', 'hub', or a folder that holds CB/train.jsonl"),
        ("probe --data .", "layout of the official SuperGLUE release"),
        ("probe --data field", "train.jsonl:2: no field 'premise'; CB rows need premise, hypothesis, label"),
        ("probe --data label", "train.jsonl:2: label 'perhaps' is not one of CB's: 'entailment' (0), 'contradiction' (1), 'neutral' (2)"),
        ("probe --prompt-length 0", "error: prompt_length is 0; expected greater than 0"),
        ("probe --prompt-length -3", "error: prompt_length is -3; expected greater than 0"),
        ("train --method dpt --bottleneck 0", "error: bottleneck is 0; expected greater than 0"),
        ("probe --steps 0", "error: steps is 0; expected greater than 0"),
        ("probe --epochs -1", "error: epochs is -1; expected greater than 0"),
        ("probe --steps many", "error: Invalid value for '--steps'"),
        ("train --method vanilla --bottleneck 5", "error: method 'vanilla' has no 'bottleneck'; methods that have it: dpt"),
        ("probe --bottleneck 5", "error: No such option: --bottleneck"),
        ("probe --learning-rat 5", "error: No such option: --learning-rat"),
        ("probe --dtype float16", "error: dtype is 'float16': float16 overflows in T5's feed-forward layers and gives NaN; use bfloat16 or float32"),
        ("probe --sigma-init twos", "error: sigma_init is 'twos'; expected 'ones', 'uniform' or 'half-normal'"),
        ("probe --rank 101", "error: rank is 101, but P is 100 x 128 (prompt_length x width of the backbone); give a rank of at most 100"),
        ("probe --seed -1", "error: seed is -1; expected greater than or equal to 0"),
        ("probe --device cuda:99", "error: device 'cuda:99' cannot be used"),
        ("probe --device meta", "error: device 'meta' cannot be used (expected one of cpu, cuda, mps)"),
        ("probe --device gpu", "error: device 'gpu' cannot be used"),
        ("probe --config none.toml", "error: config 'none.toml' cannot be read (No such file or directory)"),
        ("probe --config bad.toml", "error: config 'bad.toml' is no TOML: Invalid value (at line 1, column 8)"),
        ("probe --config key.toml", "error: unknown setting 'learning_rat'; did you mean 'learning_rate'?"),
        ("train --config method.toml", "error: method 'vanilla' has no 'bottleneck'; methods that have it: dpt"),
        ("probe --resume --overwrite", "error: --resume and --overwrite exclude each other; give one"),
        ("probe --name a --seed 1 --seed 2", "error: --name a fits one run, and there are 2 seeds; leave it out"),
        ("probe --name taken", "error: runs/taken exists and is no run folder; choose another --name or --runs-dir"),
        ("probe --name ../escape", "error: run name '../escape' is no plain folder name"),
        ("resume nothing", "error: no run 'nothing': there are no runs in 'runs'"),
        ("runs --runs-dir none", "error: no folder 'none' with runs; train one first: rankprobe probe"),
        ("plot", "error: no logged steps to draw; train a run first: rankprobe probe"),
        ("plot fig33", "error: unknown figure 'fig33'; did you mean 'fig3'? (valid: controls, fig1, fig3,"),
        ("plot --run nothing", "error: unknown run 'nothing' (valid: )"),
        ("prob", "error: No such command 'prob'"),
    ],
)  # fmt: skip
def test_bad_input(here, capsys, command, expected):
    before = sorted(here.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert expected in captured.err
    assert captured.err.startswith("error: ")
    assert len(captured.err.strip().splitlines()) <= 2
    assert "Traceback" not in captured.err + captured.out
    assert sorted(here.rglob("*")) == before


def test_an_existing_run_is_kept(here, capsys):
    quick = ["--prompt-length", "4", "--steps", "2", "--name", "one"]
    with pytest.raises(SystemExit) as stop:
        main(["probe", *quick])
    assert not stop.value.code
    manifest = (here / "runs/one/manifest.json").read_text()
    with pytest.raises(SystemExit) as stop:
        main(["probe", *quick])
    assert stop.value.code == 2
    expected = (
        "error: runs/one exists (finished); continue it with --resume, start over with --overwrite, "
        "or choose another --name (in Python: if_exists, name)\n"
    )
    assert capsys.readouterr().err == expected
    assert (here / "runs/one/manifest.json").read_text() == manifest


def test_a_failed_run_exits_with_one(here, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["probe", "--prompt-length", "4", "--steps", "30", "--factor-scale", "1e30", "--name", "one"])
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.startswith(
        "error: run 'one' failed at step 0: P holds NaN or infinite entries; its logs stay in runs/one"
    )
    assert (here / "runs/one/manifest.json").exists()


def test_debug_shows_the_traceback(here):
    from rankprobe.errors import RankprobeError

    with pytest.raises(RankprobeError, match="unknown task 'cbb'"):
        main(["probe", "--task", "cbb", "--debug"])


def test_an_unwritable_runs_dir(here, capsys):
    (here / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["probe", "--runs-dir", "file/runs", "--prompt-length", "4", "--steps", "2"])
    assert stop.value.code == 1
    assert "Not a directory" in capsys.readouterr().err
