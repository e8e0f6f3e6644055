"""Truncation curves: the whole prompt scores as the run did, and less of it as less of it does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import Soft
from rankprobe.errors import RankprobeError
from rankprobe.rank import parts
from rankprobe.tasks import load_split
from rankprobe.training.evaluation import evaluate
from rankprobe.training.exam import longest_answer, set_exam, task_of
from rankprobe.training.session import backbone_of
from rankprobe.training.truncate import CURVES, keep, truncate

TRAINED = {"learning_rate": 0.3, "steps": 12, "eval_every": 12, "dtype": "float64"}


@pytest.fixture(scope="module", params=["vanilla", "probe", "dept"])
def run(request, tmp_path_factory):
    return rp.train(quick(method=request.param, **TRAINED), runs_dir=tmp_path_factory.mktemp("runs"))


def test_every_curve_ends_at_the_score_of_the_run(run):
    curves = truncate(run).curves
    last = run.log("evals").query("split == 'validation'").groupby("metric")["value"].last()
    whole = curves[curves["k"] == 8]
    assert len(whole) == len(CURVES) * len(last)
    for row in whole.to_dict("records"):
        assert row["value"] == last[row["metric"]]


def test_scores_are_those_of_the_cut_prompt(run):
    """One k, evaluated by hand; DePT keeps its shift, which the run's own factors give."""
    config = rp.RunConfig.parse(run.manifest["config"])
    if not config.method.prompt_is_all:
        pytest.skip("its other factors are tested by the end of the curve")
    backbone = backbone_of(config)
    rows = load_split(task_of(config.task), "validation", "bundled")
    exam = set_exam(config.task, rows, backbone, longest_answer(config.task, backbone))
    P, P0 = run.prompt().astype(float), run.prompt("P0").astype(float)
    by_hand = {"P": parts(P, [3], "top")[0], "dP": P0 + parts(P - P0, [3], "top")[0]}
    curves = truncate(run, ks=[3]).curves
    for matrix, cut in by_hand.items():
        soft = Soft(torch.from_numpy(cut.astype(np.float32)))
        (expected,) = evaluate(exam, backbone, [soft], 8)
        found = curves[(curves["matrix"] == matrix) & (curves["kept"] == "top") & (curves["k"] == 3)].iloc[0]
        assert found["value"] == expected[0]["value"]


def test_each_curve_asks_with_its_own_prompts(run, monkeypatch):
    from rankprobe.training import truncate as module

    asked = []

    def stub(exam, backbone, softs, batch_size, scoring):
        asked.extend(np.asarray(soft.P, dtype=float) for soft in softs)
        return [["0"] * len(exam.data) for _ in softs]

    monkeypatch.setattr(module, "answers", stub)
    module.truncate(run, ks=[3], seed=5)
    P, P0 = run.prompt().astype(float), run.prompt("P0").astype(float)
    expected = [
        *parts(P, [3, 8], "top"),
        *(P0 + parts(P - P0, [3, 8], "top")),
        *parts(P, [3, 8], "bottom"),
        *parts(P, [3, 8], "random", 5),
    ]
    np.testing.assert_allclose(asked, expected, rtol=1e-6, atol=1e-6)


def test_curves_are_kept_and_come_back_in_frames(run):
    found = truncate(run, ks=[0, 2])
    assert rp.load_runs(run.path.parent).truncation.empty
    keep(run, found)
    back = rp.load_runs(run.path.parent).truncation
    assert len(back) == len(found.curves)
    assert back["value"].tolist() == found.curves["value"].tolist()
    assert set(back["method"]) == {run.manifest["config"]["method"]["name"]}
    stored = (run.truncation() or {})["functional_rank"]
    assert [row["matrix"] for row in stored] == ["P", "dP"]
    (run.path / "truncation.json").unlink()


def test_functional_rank_of_a_prompt_that_needs_one_direction(tmp_path, monkeypatch):
    """All gain comes with the first direction: every resample that gains says 1."""
    run = rp.train(quick(method="vanilla", **TRAINED), runs_dir=tmp_path)
    from rankprobe.training import truncate as module

    def stub(exam, backbone, softs, batch_size, scoring):
        right = [exam.task.target(example, exam.targets) for example in exam.data.examples]
        wrong = ["nothing"] * len(right)
        return [
            right if torch.linalg.matrix_rank(soft.P.double(), rtol=1e-6) >= 1 else wrong for soft in softs
        ]

    monkeypatch.setattr(module, "answers", stub)
    first = module.truncate(run).functional_rank.iloc[0]
    assert (first["functional_rank"], first["low"], first["high"], first["defined"]) == (1, 1, 1, 1)
    monkeypatch.setattr(module, "answers", lambda exam, b, softs, *_: [["x"] * len(exam.data)] * len(softs))
    none = module.truncate(run).functional_rank.iloc[0]
    assert np.isnan(none["functional_rank"])
    assert none["defined"] == 0


def test_the_score_without_reading_is_resampled_too(run, monkeypatch):
    """Who always gives the commonest label gains nothing in any resample, however common it is there."""
    from rankprobe.training import truncate as module

    def constant(exam, backbone, softs, *_):
        counts = Counter(exam.task.target(example, exam.targets) for example in exam.data.examples)
        return [[counts.most_common(1)[0][0]] * len(exam.data)] * len(softs)

    monkeypatch.setattr(module, "answers", constant)
    found = module.truncate(run, ks=[0, 4]).functional_rank
    assert found["functional_rank"].isna().all()
    assert found["defined"].eq(0).all()


def test_what_cannot_be_cut(run, tmp_path):
    with pytest.raises(RankprobeError, match=r"k is 0 to 9; expected 0 to 8 for a prompt \(8, 128\)"):
        truncate(run, ks=[0, 9])
    tuned = rp.train(quick(method="finetune", steps=2), runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match="has no prompt to cut"):
        truncate(tuned)
