"""The model card of an exported prompt: what it says, and what it does not say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import quick
from huggingface_hub import ModelCard

import rankprobe as rp
from rankprobe.bundled import FOLDER
from rankprobe.cli import main
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import save_truncation, truncate
from rankprobe.reports import CITATION, model_card
from rankprobe.runs import Run
from rankprobe.runs.task_rank import TaskRankFile, save_task_rank

ROOT = Path(__file__).parents[2]
NEEDED = {
    "model": "tiny", "data": "CB", "metric": "accuracy", "seeds": [1], "n_rows": 28, "n_questions": 28, "max_k": 8,
    "share": 0.95, "confidence": 0.95, "baseline": 50.0, "vanilla": 90.0, "gain": 40.0, "gain_lower": 30.0,
    "needed_rank": 2, "decisions": [], "tries": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    rp.train(quick(model="tiny", method="vanilla", steps=40, eval_every=20), runs_dir=folder, name="tiny")
    rp.train(quick(report_split="half", scoring="both"), runs_dir=folder, name="half")
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A function that copies a run; the test may change the copy."""
    return lambda name: Run(Path(shutil.copytree(trained / name, tmp_path / name)))


def metadata(card: str) -> dict:
    return ModelCard(card).data.to_dict()


def as_hub_model(run: Run, model: str = "google/t5-v1_1-base", **backbone) -> Run:
    """The run as if its model were on the hub; the bundled one is tiny for a test."""
    manifest = run.manifest
    changed = {"source": "hub", "label": model, "random_weights": False, **backbone}
    run.update(
        {"config": {**manifest["config"], "model": model}, "backbone": {**manifest["backbone"], **changed}}
    )
    return run


def test_metadata_name_a_base_model_of_the_hub_alone(run):
    """The hub refuses a card whose base model is a path."""
    bundled = run("tiny")
    keys = metadata(model_card(bundled))
    assert keys == {
        "library_name": "peft",
        "tags": ["soft-prompt", "prompt-tuning", "rankprobe"],
        "metrics": ["accuracy", "macro_f1"],
    }
    keys = metadata(model_card(as_hub_model(bundled)))
    assert keys["base_model"] == "google/t5-v1_1-base"
    assert keys["base_model_relation"] == "adapter"
    assert "# license: yours to choose" in model_card(bundled)


def test_our_miniatures_and_random_weights_are_called_so(run):
    for name in ("tiny", "half"):
        card = model_card(run(name))
        assert "miniature CB (a miniature of ours, not SuperGLUE)" in card
        assert "# Soft prompt for miniature CB on" in card
        assert "Note that" in card
        assert "not SuperGLUE." in card
    assert "on random:tiny (random weights)" in card
    assert "the model has random weights" in card
    assert "PEFT cannot load this model: rankprobe draws its weights at random." in card
    assert "PeftModel" not in card


@pytest.mark.parametrize(("which", "step"), [("final", 40), ("best", None)])
def test_each_score_is_next_to_its_baseline(run, which, step):
    tiny = run("tiny")
    step = step or tiny.manifest["progress"]["best_step"]
    card = model_card(tiny, which=which)
    evals = tiny.log("evals").query("step == @step")
    assert len(evals) == 2
    for row in evals.itertuples():
        assert (
            f"| {row.metric}, decoded | {row.value:.1f} | {row.baseline:.1f} | 56 | {row.n_invalid} |" in card
        )
    assert f"| from | step {step} of 40 " in card
    assert ("biased upwards" in card) == (which == "best")


def test_scores_of_the_held_back_half(run):
    half = run("half")
    card = model_card(half)
    rows = half.log("evals").query("step == 6 and split == 'report'")
    assert len(rows) == 4
    for row in rows.itertuples():
        assert (
            f"{row.metric}, {'decoded' if row.scoring == 'greedy' else 'likeliest label'} | {row.value:.1f} |"
            in card
        )
    assert "the held-back half of dev, on which nothing was chosen" in card
    assert "| 28 |" in card
    assert "| 56 |" not in card


def test_readings_come_with_nulls_and_verdict(run):
    tiny = run("tiny")
    card = model_card(tiny)
    readings = rp.analyze([tiny.path]).query("prompt == 'final' and matrix == 'P'").set_index("measure")
    nulls = ["value", "signflip", "P0", "gaussian", "haar", "flip_example", "flip_block"]
    for measure, title in (("erank_rv", "effective rank"), ("stable_rank", "stable rank")):
        cells = " | ".join(f"{readings.loc[measure, null]:.3g}" for null in nulls)
        assert f"| {title} | {cells} |" in card
    head = (
        "| measure | P | sign-flip | P0 | Gaussian twin | Haar twin | example-flip twin | block-flip twin |"
    )
    assert head in card
    for sentence in rp.findings([tiny])[:-1]:
        assert f"- {sentence}" in card
    assert "One seed: no verdict." in card


def test_ranks_that_were_not_measured_and_ranks_that_were(run):
    tiny = run("tiny")
    card = model_card(tiny)
    assert "The functional rank, the rank that is used, was not measured." in card
    assert "The rank that the task needs was not measured." in card
    save_truncation(tiny, truncate(tiny, ks=[0, 2, 8]))
    save_task_rank(tiny, TaskRankFile.parse(NEEDED))
    card = model_card(tiny)
    assert "was not measured" not in card
    assert rp.findings([tiny])[-1] in card
    assert "functional rank is" in rp.findings([tiny])[-1]
    assert (
        "The task needs at most rank 2 (certified on 28 rows and 1 seed; vanilla 90.0, baseline 50.0)."
        in card
    )


def test_the_functional_rank_is_of_the_exported_prompt_or_says_of_which(run):
    tiny = run("tiny")
    save_truncation(tiny, truncate(tiny, ks=[0, 2, 8], which="best"))
    for which in ("final", "best"):
        assert "The functional rank of the best prompt is" in model_card(tiny, which=which)
    save_truncation(tiny, truncate(tiny, ks=[0, 2, 8]))
    assert "functional rank of the best prompt" not in model_card(tiny)
    assert "The functional rank of the best prompt is" in model_card(tiny, which="best")


def test_how_to_load_it(run):
    tiny = as_hub_model(run("tiny"))
    card = model_card(tiny, hub_id="me/prompt")
    for line in (
        'base = "google/t5-v1_1-base"',
        'PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(base), "me/prompt")',
        "rankprobe analyze hub:me/prompt",
        "--init-from hub:me/prompt --prompt-length 8",
        "--task cb --model google/t5-v1_1-base",
        "premise: {premise} hypothesis: {hypothesis}",
        "Answers: 0 (entailment), 1 (contradiction), 2 (neutral).",
        f"version = {{{rp.__version__}}}",
    ):
        assert line in card
    assert "one text at a time" not in card
    causal = model_card(as_hub_model(tiny, causal=True), folder="adapter")
    assert "AutoModelForCausalLM" in causal
    assert "one text at a time" in causal
    assert "rankprobe analyze adapter\n" in causal


def test_the_citation_is_that_of_the_project():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["title"] in CITATION
    assert cited["authors"][0]["name"] in CITATION
    (paper,) = cited["references"]
    for words in (paper["title"], paper["collection-title"], paper["doi"]):
        assert f"{{{words}}}" in CITATION
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in CITATION


def test_paths_of_this_machine_and_commands_that_need_the_run_are_left_out(run):
    tiny = run("tiny")
    place = "/home/someone/models/my-t5"
    as_hub_model(tiny, place, source="folder")
    tiny.update(
        {"config": {**tiny.manifest["config"], "tokenizer": f"{place}/pieces", "data": "/home/someone/cb"}}
    )
    card = model_card(tiny)
    assert "/home" not in card
    assert str(tiny.path) not in card
    assert "rankprobe truncate" not in card
    assert 'base = "my-t5"  # the folder of the model' in card
    assert "--model MODEL" in card
    assert "base_model:" not in card


def test_names_of_strangers_are_text(run):
    """In the metadata, in Markdown, in the program and in the commands."""
    bad = 'x"\n---\nlicense: mit\n```\n$(touch canary) <script> `b` '
    tiny = as_hub_model(run("tiny"), bad)
    card = model_card(tiny)
    keys = metadata(card)
    assert keys["base_model"] == bad
    assert "license" not in keys
    assert "<script>" not in re.sub(r"```.*?\n```", "", card.split("---\n", 2)[2], flags=re.DOTALL)
    assert len(re.findall(r"^`{3,}\w*$", card, re.MULTILINE)) % 2 == 0
    command = next(line for line in card.splitlines() if "--model" in line)
    assert "'x\"\\n---" in command  # quoted, on one line


def test_a_task_that_is_gone_and_logs_that_are_gone(run):
    tiny = run("tiny")
    tiny.update({"config": {**tiny.manifest["config"], "task": "/gone/reviews.toml"}})
    card = model_card(tiny)
    assert "Texts look as in training" not in card
    assert "--task TASK" in card
    for path in tiny.path.glob("*.parquet"):
        path.write_bytes(b"torn")
    card = model_card(tiny)
    assert "The scores of the run cannot be read." in card
    assert "The logs of the run cannot be read, so its readings are not given." in card
    assert metadata(card)["library_name"] == "peft"


def test_runs_that_trained_more_than_a_prompt_have_no_card(tmp_path):
    for method in ("dept", "finetune"):
        run = rp.train(quick(method=method, steps=2), runs_dir=tmp_path)
        with pytest.raises(RankprobeError, match=rf"trained more than a prompt \({method}\)"):
            model_card(run)


def test_export_writes_the_card_of_the_prompt_it_writes(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = run("tiny")
    for which in ("final", "best"):
        with pytest.raises(SystemExit) as stop:
            main(["export", str(tiny.path), which, "--which", which])
        assert not stop.value.code
        written = (tmp_path / which / "README.md").read_text(encoding="utf-8")
        assert written == model_card(tiny, which=which, folder=which)
    assert (
        f'"{FOLDER}/tiny"' in (tmp_path / "best" / "adapter_config.json").read_text()
    )  # here, PEFT finds it
    with pytest.raises(SystemExit):
        main(["export", str(tiny.path), "p.npy", "--to", "npy"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "final", "p.npy", "tiny"]
