"""Truncation curves: the whole prompt scores as the run did, and less of it as less of it does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import PromptInput
from rankprobe.data.eval_set import build_eval_set, max_answer_length, task_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import backbone_of
from rankprobe.evaluation.scoring import evaluate_prompts
from rankprobe.evaluation.truncation import CURVES, save_truncation, truncate
from rankprobe.rank import truncated
from rankprobe.tasks import load_split

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
    rows = load_split(task_of(config), "validation", "bundled")
    eval_set = build_eval_set(config, rows, backbone, max_answer_length(config, backbone))
    P, P0 = run.prompt().astype(float), run.prompt("P0").astype(float)
    by_hand = {"P": truncated(P, [3], "top")[0], "dP": P0 + truncated(P - P0, [3], "top")[0]}
    curves = truncate(run, ks=[3]).curves
    for matrix, cut in by_hand.items():
        soft = PromptInput(torch.from_numpy(cut.astype(np.float32)))
        (expected,) = evaluate_prompts(eval_set, backbone, [soft], 8)
        found = curves[(curves["matrix"] == matrix) & (curves["kept"] == "top") & (curves["k"] == 3)].iloc[0]
        assert found["value"] == expected[0]["value"]


def test_each_curve_asks_with_its_own_prompts(run, monkeypatch):
    from rankprobe.evaluation import truncation as module

    asked = []

    def stub(eval_set, backbone, prompt_inputs, batch_size, scoring):
        asked.extend(np.asarray(soft.P, dtype=float) for soft in prompt_inputs)
        return [["0"] * len(eval_set.data) for _ in prompt_inputs]

    monkeypatch.setattr(module, "answer", stub)
    module.truncate(run, ks=[3], seed=5)
    P, P0 = run.prompt().astype(float), run.prompt("P0").astype(float)
    expected = [
        *truncated(P, [3, 8], "top"),
        *(P0 + truncated(P - P0, [3, 8], "top")),
        *truncated(P, [3, 8], "bottom"),
        *truncated(P, [3, 8], "random", 5),
    ]
    np.testing.assert_allclose(asked, expected, rtol=1e-6, atol=1e-6)


def test_curves_are_kept_and_come_back_in_frames(run):
    found = truncate(run, ks=[0, 2])
    assert rp.load_runs(run.path.parent).truncation.empty
    save_truncation(run, found)
    back = rp.load_runs(run.path.parent).truncation
    assert len(back) == len(found.curves)
    assert back["value"].tolist() == found.curves["value"].tolist()
    assert set(back["method"]) == {run.manifest["config"]["method"]}
    stored = (run.truncation() or {})["functional_rank"]
    assert [row["matrix"] for row in stored] == ["P", "dP"]
    (run.path / "truncation.json").unlink()


@pytest.mark.parametrize("usual", ["greedy", "rank", "both"])
def test_each_scoring_has_its_own_file(tmp_path, usual):
    run = rp.train(quick(method="vanilla", scoring=usual, **TRAINED), runs_dir=tmp_path)
    other = "greedy" if usual == "rank" else "rank"
    save_truncation(run, truncate(run, ks=[2]))
    first = run.truncation()
    save_truncation(run, truncate(run, ks=[2], scoring=other))
    assert run.truncation() == first
    assert {row["scoring"] for row in first["curves"]} == {"rank" if usual == "rank" else "greedy"}
    assert {row["scoring"] for row in run.truncation(other)["curves"]} == {other}
    if usual == "both":
        last = run.log("evals").query("scoring == 'rank' and metric == 'accuracy'")["value"].iloc[-1]
        whole = [row for row in run.truncation("rank")["curves"] if row["k"] == 8]
        values = [row["value"] for row in whole if row["metric"] == "accuracy"]
        assert values == pytest.approx([last] * len(CURVES), abs=1e-9)  # JSON keeps ten digits


def test_the_best_prompt_has_its_own_file(tmp_path):
    run = rp.train(quick(method="vanilla", scoring="both", **TRAINED), runs_dir=tmp_path)
    save_truncation(run, truncate(run, ks=[2], which="best"))
    assert run.truncation()["functional_rank"][0]["prompt"] == "best"
    assert rp.load_runs(tmp_path).runs["functional_rank_prompt"].tolist() == ["best"]
    save_truncation(run, truncate(run, ks=[2]))
    save_truncation(run, truncate(run, ks=[3], which="best"))
    save_truncation(run, truncate(run, ks=[4], which="best", scoring="rank"))
    for given, which in (({}, "final"), ({"which": "best"}, "best"), ({"scoring": "rank"}, "best")):
        assert {row["prompt"] for row in run.truncation(**given)["curves"]} == {which}
    names = {"truncation.json", "truncation_best.json", "truncation_best_rank.json"}
    assert {path.name for path in run.path.glob("truncation*")} == names
    frames = rp.load_runs(tmp_path)
    assert frames.truncation.groupby("prompt")["k"].unique().map(list).to_dict() == {
        "best": [3, 8],
        "final": [2, 8],
    }
    assert frames.runs["functional_rank_prompt"].tolist() == ["final"]
    titles = [axes.get_title() for axes in run.plot.truncation().axes]
    assert ["prompt = best" in title for title in titles] == [False, True]


def test_an_exact_result_is_not_replaced_by_a_coarse_one(tmp_path, monkeypatch):
    run = rp.train(quick(method="vanilla", **TRAINED), runs_dir=tmp_path)
    right_from(3, monkeypatch)
    assert save_truncation(run, truncate(run, ks=[1]))
    assert save_truncation(run, truncate(run))
    exact = run.truncation()
    assert not save_truncation(run, truncate(run, ks=[1, 4], order="sensitivity"))
    assert run.truncation() == exact
    assert save_truncation(run, truncate(run, ks=[1, 4], which="best"))
    assert save_truncation(run, truncate(run, ks=range(9)))
    (run.path / "truncation.json").write_text("{")
    assert save_truncation(run, truncate(run, ks=[1]))


def test_functional_rank_of_a_prompt_that_needs_one_direction(tmp_path, monkeypatch):
    """All gain comes with the first direction: every resample that gains says 1."""
    run = rp.train(quick(method="vanilla", **TRAINED), runs_dir=tmp_path)
    from rankprobe.evaluation import truncation as module

    def stub(eval_set, backbone, prompt_inputs, batch_size, scoring):
        right = [eval_set.task.target(example, eval_set.targets) for example in eval_set.data.examples]
        wrong = ["nothing"] * len(right)
        return [
            right if torch.linalg.matrix_rank(soft.P.double(), rtol=1e-6) >= 1 else wrong
            for soft in prompt_inputs
        ]

    monkeypatch.setattr(module, "answer", stub)
    first = module.truncate(run).functional_rank.iloc[0]
    assert (first["functional_rank"], first["low"], first["high"], first["defined"]) == (1, 1, 1, 1)
    monkeypatch.setattr(
        module,
        "answer",
        lambda eval_set, b, prompt_inputs, *_: [["x"] * len(eval_set.data)] * len(prompt_inputs),
    )
    none = module.truncate(run).functional_rank.iloc[0]
    assert np.isnan(none["functional_rank"])
    assert none["defined"] == 0


def right_from(needed, monkeypatch):
    """All answers are right if the prompt has a rank of at least `needed`; returns the ranks asked for."""
    from rankprobe.evaluation import truncation as module

    asked = []

    def stub(eval_set, backbone, prompt_inputs, batch_size, scoring):
        right = [eval_set.task.target(example, eval_set.targets) for example in eval_set.data.examples]
        ranks = [int(torch.linalg.matrix_rank(soft.P.double(), rtol=1e-6)) for soft in prompt_inputs]
        asked.extend(ranks)
        return [right if rank >= needed else ["nothing"] * len(right) for rank in ranks]

    monkeypatch.setattr(module, "answer", stub)
    return asked


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    settings = TRAINED | {"steps": 1, "prompt_length": 100, "method": "vanilla"}
    return rp.train(quick(**settings), runs_dir=tmp_path_factory.mktemp("runs"))


def test_bisection_makes_the_functional_rank_exact(long, monkeypatch):
    asked = right_from(71, monkeypatch)
    found = truncate(long)
    first = found.functional_rank.iloc[0]
    assert (first["below"], first["functional_rank"], first["low"], first["high"]) == (70, 71, 71, 71)
    assert set(first["resampled"]) == {71}
    profile = found.profile[found.profile["matrix"] == "P"]
    assert profile["share"].tolist() == [0.5, 0.8, 0.9, 0.95, 0.99]
    assert profile[["below", "k"]].to_numpy().tolist() == [[70, 71]] * 5
    grid = found.curves.query("kept == 'random'")["k"].unique()
    assert set(grid) < set(found.curves.query("matrix == 'P' and kept == 'top'")["k"])
    assert len(asked) <= 54
    given = truncate(long, ks=[0, 60, 80])
    assert given.functional_rank.iloc[0][["below", "functional_rank"]].tolist() == [60, 80]
    assert given.functional_rank.iloc[0][["low", "high"]].tolist() == [61, 80]


def test_the_order_of_sensitivity_keeps_what_the_loss_needs(run, monkeypatch):
    from rankprobe.evaluation import truncation as module

    P, asked = run.prompt().astype(float), []
    U, s, Vt = np.linalg.svd(P, full_matrices=False)
    G = np.outer(U[:, 5], Vt[5])  # only the sixth direction matters

    def stub(eval_set, backbone, prompt_inputs, *_):
        asked.extend(np.asarray(soft.P, dtype=float) for soft in prompt_inputs)
        return [["0"] * len(eval_set.data) for _ in prompt_inputs]

    monkeypatch.setattr(module, "answer", stub)
    monkeypatch.setattr(module, "prompt_gradient", lambda *_: G)
    found = module.truncate(run, ks=[1], order="sensitivity")
    np.testing.assert_allclose(asked[0], s[5] * np.outer(U[:, 5], Vt[5]), atol=1e-6)
    for table in (found.curves, found.functional_rank, found.profile):
        assert table["order"].eq("sensitivity").all()
    with pytest.raises(RankprobeError, match="order is 'largest'; expected singular or sensitivity"):
        truncate(run, order="largest")


@pytest.mark.parametrize("changes", [{}, {"shots": 20, "control": "shuffle-labels"}, {"dropout": True}])
def test_the_gradient_is_of_the_training_loss(tmp_path, changes):
    """As from one batch of all its rows, with the targets it was trained on."""
    from rankprobe.backbone import losses
    from rankprobe.data import collate, target_rows, training_rows
    from rankprobe.evaluation.sensitivity import prompt_gradient
    from rankprobe.training.session import open_session

    config = quick(method="vanilla", **TRAINED | {"steps": 1}, **changes)
    trained = rp.train(config, runs_dir=tmp_path)
    session = open_session([config])
    data = session.train
    rows = training_rows(data.examples, config, config.seed)
    target_of = target_rows(data.targets, rows, config.control, config.seed)
    pad, targets = session.backbone.tokenizer.pad_token_id, [target_of[row] for row in rows]
    P = torch.from_numpy(trained.prompt()).double().requires_grad_()
    batch = collate(data, [rows], pad, torch.device("cpu"), [targets])
    losses(session.backbone, [PromptInput(P)], batch)[0].backward()
    assert P.grad is not None
    found = prompt_gradient(config, session.backbone, PromptInput(P))
    np.testing.assert_allclose(found, P.grad, atol=1e-5 * float(P.grad.abs().max()))


def test_the_score_without_reading_is_resampled_too(run, monkeypatch):
    """Who always gives the commonest label gains nothing in any resample, however common it is there."""
    from rankprobe.evaluation import truncation as module

    def constant(eval_set, backbone, prompt_inputs, *_):
        counts = Counter(
            eval_set.task.target(example, eval_set.targets) for example in eval_set.data.examples
        )
        return [[counts.most_common(1)[0][0]] * len(eval_set.data)] * len(prompt_inputs)

    monkeypatch.setattr(module, "answer", constant)
    found = module.truncate(run, ks=[0, 4]).functional_rank
    assert found["functional_rank"].isna().all()
    assert found["defined"].eq(0).all()


def test_what_cannot_be_cut(run, tmp_path):
    with pytest.raises(RankprobeError, match=r"^k is 9; this prompt \(8 x 128\) allows 0 to 8$"):
        truncate(run, ks=[0, 9])
    with pytest.raises(RankprobeError, match=r"^k is -1; this prompt"):
        truncate(run, ks=[-1, 9])
    tuned = rp.train(quick(method="finetune", steps=2), runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match="has no prompt to cut"):
        truncate(tuned)
