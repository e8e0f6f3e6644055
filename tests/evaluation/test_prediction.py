"""A trained prompt does outside training what it did inside."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import load_backbone
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import evaluate as evaluate_room
from rankprobe.evaluation import prediction
from rankprobe.evaluation.evaluate import evaluate_runs, vote
from rankprobe.evaluation.neighbors import neighbors
from rankprobe.evaluation.prediction import predict

TINY = {"model": "tiny", "steps": 30, "eval_every": 10, "prompt_length": 20}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of DPT that have begun to answer, differently."""
    folder = tmp_path_factory.mktemp("runs")
    return rp.train_cohort([quick(**TINY, method="dpt", seed=s) for s in (1, 2, 3)], runs_dir=folder)


@pytest.fixture(scope="module")
def texts(runs):
    from rankprobe.tasks import TASKS, load_split

    task = TASKS["cb"]
    return [task.source(e.fields) for e in load_split(task, "validation", "bundled").examples]


def logged(run, step):
    rows = run.log("evals").query("step == @step")
    return dict(zip(rows["metric"], rows["value"], strict=True))


def scores(frame, run_id):
    rows = frame[frame["run_id"] == run_id]
    return dict(zip(rows["metric"], rows["value"], strict=True))


def test_scores_are_those_of_training(runs):
    for which, step in (("best", "best_step"), ("final", "total_steps")):
        found = evaluate_runs(runs, which=which)
        for run in runs:
            assert scores(found, run.id) == logged(run, run.manifest["progress"][step])
    assert found["baseline"].notna().all()


@pytest.mark.parametrize("method", ["dept", "finetune"])
def test_methods_that_are_more_than_a_prompt(tmp_path, method):
    settings = {"finetune": {"learning_rate": 1e-3, "prompt_length": 0}}.get(method, {"update_rate": 0.01})
    run = rp.train(quick(**{**TINY, "method": method, "steps": 40, **settings}), runs_dir=tmp_path)
    for which, step in (("best", "best_step"), ("final", "total_steps")):
        found = scores(evaluate_runs([run], which=which), run.id)
        assert found == logged(run, run.manifest["progress"][step])
    assert found["accuracy"] > 0


def test_an_ensemble_is_the_majority_of_its_members(runs, texts, monkeypatch):
    passes = []
    real = evaluate_room.answer
    monkeypatch.setattr(evaluate_room, "answer", lambda *args: passes.append(1) or real(*args))
    found = evaluate_runs(runs, ensemble=True)
    assert len(passes) == 1  # all prompts in one pass
    alone = [predict([(run, text) for text in texts]) for run in runs]
    assert len({tuple(each) for each in alone}) == 3
    labels = ["0", "1", "2"]
    truth = [labels[e.label] for e in _examples()]
    right = [answer == label for answer, label in zip(vote(alone), truth, strict=True)]
    assert scores(found, "ensemble of 3")["accuracy"] == pytest.approx(100 * np.mean(right))


def _examples():
    from rankprobe.tasks import TASKS, load_split

    return load_split(TASKS["cb"], "validation", "bundled").examples


def test_votes():
    assert vote([["a", "b", "c"], ["b", "b", "a"], ["b", "a", "b"]]) == ["b", "b", "c"]


def test_texts_of_many_runs_share_a_pass(runs, texts, monkeypatch):
    requests = [(runs[i % 3], text) for i, text in enumerate(texts)]
    alone = [predict([request])[0] for request in requests[:6]]
    counts = []
    real = prediction.decode
    monkeypatch.setattr(
        prediction,
        "decode",
        lambda b, prompt_inputs, *rest: counts.append(len(prompt_inputs)) or real(b, prompt_inputs, *rest),
    )
    assert predict(requests)[:6] == alone
    assert max(counts) == 3


def test_another_task_and_the_training_rows(runs):
    transfer = evaluate_runs(runs[:1], task="rte", scoring="rank")
    assert transfer["data"].unique().tolist() == ["miniature RTE"]
    assert transfer["n_invalid"].eq(0).all()
    train = evaluate_runs(runs[:1], split="train")
    assert train["n_examples"].eq(250).all()
    wsc = evaluate_runs(runs[:1], split="train", task="wsc")
    assert wsc["n_examples"].eq(554).all()  # false rows are scored, though nothing is learned from them


def test_what_cannot_be_used(tmp_path, runs):
    other = rp.train(quick(**{**TINY, "task": "rte", "steps": 2}, method="dpt"), runs_dir=tmp_path)
    with pytest.raises(
        RankprobeError, match="an ensemble needs runs with the same task settings; these runs differ"
    ):
        evaluate_runs([runs[0], other], ensemble=True)
    with pytest.raises(RankprobeError, match="no runs; give one or more"):
        evaluate_runs([], ensemble=True)
    with pytest.raises(RankprobeError, match="unknown setting 'taks'; did you mean 'task'"):
        evaluate_runs(runs, taks="rte")
    with pytest.raises(RankprobeError, match="which is 'P0'; expected final or best"):
        evaluate_runs(runs, which="P0")
    with pytest.raises(RankprobeError, match="line 2: no field 'hypothesis'"):
        predict([(runs[0], "x"), (runs[0], {"premise": "x"})])


def test_other_weights_than_in_training_are_refused(tmp_path, runs):
    path = tmp_path / "run"
    shutil.copytree(runs[0].path, path)
    run = rp.find_run("run", tmp_path)
    run.update({"backbone": {**run.manifest["backbone"], "fingerprint": "0" * 64}})
    for use in (lambda: evaluate_runs([run]), lambda: predict([(run, "x")]), lambda: neighbors(run)):
        with pytest.raises(RankprobeError, match="was trained on other weights than those of 'tiny' now"):
            use()


def test_a_device_can_be_chosen(tmp_path, runs):
    shutil.copytree(runs[0].path, tmp_path / "run")
    run = rp.find_run("run", tmp_path)
    config = run.manifest["config"]
    run.update({"config": {**config, "device": "cuda:99"}})
    with pytest.raises(RankprobeError, match="device 'cuda:99' cannot be used"):
        evaluate_runs([run])
    assert scores(evaluate_runs([run], device="cpu"), "run") == logged(runs[0], 30)
    assert len(neighbors(run)) == 100


def test_names_say_what_data_and_weights_are(runs):
    found = evaluate_runs(runs[:1])
    assert found["data"].unique().tolist() == ["miniature CB"]
    assert found["model"].unique().tolist() == ["tiny (rankprobe's own)"]


def test_an_answer_does_not_depend_on_its_neighbours(tmp_path, runs, monkeypatch):
    """Limits of length are each run's own."""
    words = "yes,no,maybe it is a lamp"
    config = quick(**{**TINY, "targets": words, "steps": 2}, method="vanilla", max_source_length=16)
    other = rp.train(config, runs_dir=tmp_path)
    text = "premise: Nora sold the lamp to Vera and Hugo knew about that very well . hypothesis: Hugo left"
    seen = {}
    real = prediction.decode

    def watched(backbone, prompt_inputs, batch, limits):
        members = batch.attention_mask.sum(1).split(list(batch.rows))
        seen.update(zip(map(int, limits), [each.tolist() for each in members], strict=True))
        return real(backbone, prompt_inputs, batch, limits)

    monkeypatch.setattr(prediction, "decode", watched)
    alone = predict([(runs[0], text)])
    length = seen[2][0]
    assert length > 16
    beside = predict([(other, text), (runs[0], text)])
    assert beside[1:] == alone
    limit = other.manifest["data"]["max_new_tokens"]
    assert limit > 2  # of a label of several tokens
    assert seen == {2: [length], limit: [16]}


def test_a_row_is_read_as_in_training(tmp_path, runs, monkeypatch):
    config = quick(**{**TINY, "task": "wsc", "steps": 2}, method="vanilla")
    wsc = rp.train(config, runs_dir=tmp_path)
    seen = []
    monkeypatch.setattr(prediction, "decode", lambda b, prompt_inputs, batch, limits: seen.append(
        b.tokenizer.batch_decode(batch.input_ids, skip_special_tokens=True)) or [[""]])  # fmt: skip
    row = {"text": "Nora paid Vera because she was kind", "target": {"span2_index": 4, "span2_text": "she"}}
    predict([(wsc, row)])
    assert "* she *" in " ".join(seen[0][0].replace("*", " * ").split())
    long = {"premise": "Nora sold the lamp . " * 200, "hypothesis": "Hugo left"}
    predict([(runs[0], long)])
    assert seen[1][0].split()[-3:] == ["hypothesis:", "Hugo", "left"]
    predict([(runs[0], "premise: " + long["premise"] + "hypothesis: Hugo left")])
    assert seen[2][0].split()[-1] != "left"  # a text is cut at its end


def test_dept_no_longer_needs_what_it_started_from(tmp_path):
    np.save(tmp_path / "p.npy", np.ones((20, 128), dtype=np.float32))
    settings = {**TINY, "method": "dept", "init": "saved", "init_from": str(tmp_path / "p.npy"), "steps": 4}
    run = rp.train(quick(**{**settings, "eval_every": 4}), runs_dir=tmp_path)
    (tmp_path / "p.npy").unlink()
    assert scores(evaluate_runs([run]), run.id) == logged(run, 4)


def test_finetuned_runs_of_one_name_are_kept_apart(tmp_path):
    runs = [
        rp.train(
            quick(**{**TINY, "method": "finetune", "prompt_length": 0, "learning_rate": rate, "steps": 20}),
            runs_dir=tmp_path / str(rate),
            name="one",
        )
        for rate in (1e-3, 1e-6)
    ]
    found = evaluate_runs(runs)
    each = [dict(zip(part["metric"], part["value"], strict=True)) for part in (found[:2], found[2:])]
    assert each == [logged(run, 20) for run in runs]
    assert each[0] != each[1]
    with pytest.raises(RankprobeError, match="has no prompt"):
        neighbors(runs[0])


def test_the_nearest_words_of_sampled_rows_are_those_rows(tmp_path):
    run = rp.train(quick(**{**TINY, "steps": 1}, method="vanilla", warmup_ratio=1.0), runs_dir=tmp_path)
    for metric, value in (("cosine", 1.0), ("euclidean", 0.0)):
        found = neighbors(run, count=2, metric=metric, which="final")
        first = found[found["place"] == 1]
        assert first[metric].tolist() == pytest.approx([value] * 20, abs=1e-6)
    backbone = load_backbone("tiny")
    ids = backbone.tokenizer.convert_tokens_to_ids(first["piece"].tolist())
    assert torch.equal(backbone.embedding[ids], torch.from_numpy(run.prompt("P0")))
