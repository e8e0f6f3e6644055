"""The needed rank of a task: choice, decision, search, refusal, and runs that are trained once."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import QUICK, quick

import rankprobe as rp
from rankprobe.data import build_eval_set
from rankprobe.data.subsets import dev_parts
from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.evaluation import backbone_of, save_truncation, truncate
from rankprobe.runs.task_rank import TASK_RANK, read_task_rank
from rankprobe.studies import needed_search
from rankprobe.studies import task_rank as room
from rankprobe.studies.needed_search import Reference, Try, checked_gain, decide, search
from rankprobe.tasks import TASKS, load_split

ROWS, SEEDS = 250, (1, 2, 3)


def rows(rate: float, seed: int = 0) -> np.ndarray:
    """Scores of rows, right on a share of them; rows that are hard for one are hard for all."""
    hard = np.random.default_rng(0).random(ROWS)
    flipped = np.random.default_rng(seed).random(ROWS) < 0.004
    return ((hard < rate) ^ flipped).astype(float)


@pytest.fixture
def reference():
    """Vanilla prompts that are right on 97 % of the rows; the baseline is right on half of them."""
    return Reference(SEEDS, np.stack([rows(0.97, s) for s in SEEDS]), (np.arange(ROWS) % 2).astype(float))


def planted(truth: int, missing: float = 0.2):
    """Tries whose scores are those of vanilla from rank `truth` on; the first one is bad and looks bad."""

    def tries_of(k: int) -> list[Try]:
        rate = 0.97 if k >= truth else 0.97 - missing
        return [
            each
            for s in SEEDS
            for each in (
                Try(k, "cut", s, 0.5, rows(0.5, s)),
                Try(k, "healed", s, rate, rows(rate, s + 10), learning_rate=0.1),
            )
        ]

    return tries_of


@pytest.mark.parametrize("truth", [1, 2, 5, 10, 20])
def test_a_planted_rank_is_found(reference, truth):
    found = search(planted(truth), reference, max_k=100)
    assert found.needed_rank == truth
    assert [row.k for row in found.decisions] == sorted(row.k for row in found.decisions)
    for row in found.decisions:
        assert row.certified == (row.k >= truth)
        assert row.chosen_rank == row.k
        assert row.tries == 6
        assert row.reached == (3 if row.k >= truth else 0)
        assert row.rate_low <= row.reached / 6 <= row.rate_high
    chosen = [row for row in found.tries if row.chosen]
    assert [(row.k, row.kind, row.seed) for row in chosen] == [
        (row.k, "healed", 1) for row in found.decisions
    ]


def test_a_small_loss_of_the_gain_is_not_certified(reference):
    """A tenth of the gain is missing below the truth: twice what the level allows."""
    assert search(planted(7, missing=0.05), reference, max_k=100).needed_rank == 7


def test_where_nothing_is_enough_the_prompt_itself_is_the_bound(reference):
    found = search(planted(1000), reference, max_k=30)
    assert found.needed_rank == 30
    assert not any(row.certified for row in found.decisions)


def test_the_choice_does_not_see_the_report_half(reference):
    """The try that is best on the selection half counts, also where another is better on the report half."""
    good, bad = rows(0.97, 20), rows(0.6, 21)
    tries = [each for s in SEEDS for each in (Try(4, "cut", s, 0.8, good), Try(4, "scratch", s, 0.9, bad))]
    row, tried = decide(4, tries, reference)
    assert not row.certified
    assert [(one.kind, one.seed) for one in tried if one.chosen] == [("scratch", 1)]
    assert row.reached == 3


def test_one_good_prompt_of_one_seed_is_enough(reference):
    """The question is whether a prompt of rank k exists."""
    tries = [Try(4, "cut", s, 0.9 if s == 2 else 0.5, rows(0.97 if s == 2 else 0.6, s)) for s in SEEDS]
    row, tried = decide(4, tries, reference)
    assert row.certified
    assert [one.seed for one in tried if one.chosen] == [2]
    assert row.reached == 1


def test_a_prompt_of_a_smaller_rank_counts(reference):
    """It is one of rank k too, so what is certified for a smaller rank is for a larger one."""
    good, bad = rows(0.97, 20), rows(0.6, 21)
    tries = [Try(6, "cut", 1, 0.6, bad), Try(3, "cut", 1, 0.9, good)]
    row, tried = decide(6, tries, reference)
    assert (row.certified, row.chosen_rank, row.tries, row.reached) == (True, 3, 1, 0)
    assert [one.k for one in tried] == [6]
    # A search remembers them: here those of rank 4 miss the bound, and those of 7 and 5 miss the level.
    near = rows(0.965, 30)
    near[np.flatnonzero(near)[:4]] = 0
    found = search(
        lambda k: [Try(k, "cut", 1, 0.9, near) if k == 4 else Try(k, "cut", 1, 0.5, bad)], reference, max_k=20
    )
    assert {row.chosen_rank for row in found.decisions if row.k > 4} == {4}


def test_the_level_is_that_of_the_mean_of_vanilla(reference):
    """Of a vanilla prompt that lost a tenth of its rows, a copy is not enough where the others are better."""
    worse = reference.vanilla[0] * (np.arange(ROWS) % 10 > 0)
    unequal = replace(reference, vanilla=np.stack([worse, *reference.vanilla[1:]]))
    assert not decide(4, [Try(4, "cut", 1, 1.0, worse)], unequal)[0].certified
    low = replace(unequal, share=0.5)
    assert decide(4, [Try(4, "cut", 1, 1.0, worse)], low)[0].certified


def test_of_equal_tries_the_first_is_chosen(reference):
    tries = [Try(4, kind, s, 0.9, rows(0.97, s)) for s in SEEDS for kind in ("cut", "healed")]
    assert [(one.kind, one.seed) for one in decide(4, tries, reference)[1] if one.chosen] == [("cut", 1)]


def test_a_failed_try_is_never_chosen_and_reaches_nothing(reference):
    tries = [
        each
        for s in SEEDS
        for each in (Try(4, "scratch", s, np.nan, rows(0.97, s)), Try(4, "cut", s, 0.0, rows(0.5, s)))
    ]
    row, tried = decide(4, tries, reference)
    assert row.reached == 0
    assert {one.kind for one in tried if one.chosen} == {"cut"}
    assert [one.report is None for one in tried if one.kind == "scratch"] == [True] * 3


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_a_search_seldom_certifies_a_rank_that_loses_too_much(n_seeds):
    """Every try of every k loses exactly 5 % of the gain: the share of searches that end below max_k."""
    rng, draws, wrong = np.random.default_rng(n_seeds), 150, 0
    for _ in range(draws):
        rights = rng.random((n_seeds, ROWS)) < 0.97
        lost = Reference(SEEDS[:n_seeds], rights.astype(float), (rng.random(ROWS) < 0.47).astype(float))

        def tries_of(k, rights=rights):
            kept = rights[[i % len(rights) for i in range(9)]] & (rng.random((9, ROWS)) >= 0.025 / 0.97)
            return [Try(k, "scratch", 1, rng.normal(), each.astype(float)) for each in kept]

        wrong += search(tries_of, lost, max_k=20).needed_rank < 20
    assert wrong / draws <= 0.13 + 2.5 * (0.13 * 0.87 / draws) ** 0.5


def test_vanilla_without_a_gain_is_refused(reference):
    with pytest.raises(RankprobeError) as refused:
        checked_gain(replace(reference, vanilla=np.stack([rows(0.52, s) for s in SEEDS])))
    assert "vanilla has no certain gain over the baseline (" in str(refused.value)
    assert "250 questions, 3 seeds" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert checked_gain(reference).mean == pytest.approx(0.47, abs=0.02)


def test_too_few_rows_for_a_proof_are_refused_with_how_many_are_enough(reference):
    few = replace(reference, vanilla=reference.vanilla[:, :60], baseline=reference.baseline[:60])
    with pytest.raises(
        RankprobeError, match="60 questions are too few: the bound of vanilla itself is -"
    ) as refused:
        checked_gain(few)
    found = int(
        re.search(
            r"give about (\d+) dev questions, of which half count, or a lower --share", str(refused.value)
        )[1]
    )
    enough = [np.resize(each, (1, found // 2))[0] for each in (*few.vanilla, few.baseline)]
    checked_gain(replace(few, vanilla=np.stack(enough[:-1]), baseline=enough[-1]))
    checked_gain(replace(few, share=0.5))


SETTINGS = {**QUICK, "task": "cb", "prompt_length": 4, "steps": 1}


@pytest.fixture
def by_rank(monkeypatch):
    """Prompts of at least the given rank are right on all rows, others give one label; nothing is decoded."""

    def install(least: int) -> None:
        def answers(eval_set, backbone, prompts, batch_size):
            task, examples = eval_set.task, eval_set.data.examples
            right = [task.target(example, eval_set.targets) for example in examples]
            wrong = right[:1] * len(right)
            ranks = [np.linalg.matrix_rank(P.astype(float), rtol=1e-5) for P in prompts]
            return [right if rank >= least else wrong for rank in ranks]

        monkeypatch.setattr(room, "answers", answers)
        # The 28 report rows of CB are too few for the level; here they count as 20 times as many.
        bound = needed_search.lower_bound
        many = lambda x: bound(np.tile(x, (1, 20)))  # noqa: E731
        monkeypatch.setattr(needed_search, "lower_bound", many)
        few = functools.partial(room.truncate, ks=[1])
        monkeypatch.setattr(room, "truncate", few)

    return install


def test_a_question_has_the_mean_score_of_its_rows():
    """MultiRC has several answers per question; free answers have the first metric of the task."""
    config = quick(task="multirc", report_split="half")
    split = load_split(TASKS["multirc"], "validation", "bundled")
    eval_set = build_eval_set(config, split, backbone_of(config), 8)
    rows = eval_set.parts["report"]
    examples = [eval_set.data.examples[row] for row in rows]
    first = [i for i, example in enumerate(examples) if example.group == examples[0].group]
    assert 1 < len(first) < len(rows)
    right = [TASKS["multirc"].target(example, eval_set.targets) for example in examples]
    found = room._scores_of_questions(
        eval_set, rows, ["no idea" if i == first[0] else t for i, t in enumerate(right)]
    )
    assert found == pytest.approx([1 - 1 / len(first)] + [1.0] * (len({e.group for e in examples}) - 1))


def test_free_answers_have_the_first_metric_of_each_row():
    config = quick(task="record", report_split="half")
    split = load_split(TASKS["record"], "validation", "bundled")
    eval_set = build_eval_set(config, split, backbone_of(config), 8)
    rows = eval_set.parts["report"][:4]
    answers = [eval_set.data.examples[row].answers[0] for row in rows]
    assert room._scores_of_questions(eval_set, rows, [*answers[:3], "nobody"]).tolist() == [1, 1, 1, 0]


def test_runs_are_trained_once_and_the_outcome_is_plain_data(tmp_path, by_rank):
    by_rank(2)
    steps = []
    ask = {"seeds": [1, 2], "restarts": 2, "rates": [0.1], "runs_dir": tmp_path, "hooks": [steps.append]}
    first = rp.taskrank(**ask, **SETTINGS)
    assert first.needed_rank == 2
    examples = load_split(TASKS["cb"], "validation", "bundled").examples
    gold = [examples[row].label for row in dev_parts(examples, "half")["report"]]
    constant = 100 * max(gold.count(each) for each in gold) / len(gold)
    assert (first.vanilla, first.baseline, first.gain) == (
        100,
        pytest.approx(constant),
        pytest.approx(100 - constant),
    )
    assert 0 < first.gain_lower < first.gain
    assert (first.n_rows, first.n_questions, first.share, first.metric) == (28, 28, 0.95, "accuracy")
    assert [row.k for row in first.decisions] == [1, 2]
    runs = rp.load_runs(tmp_path).runs
    assert set(runs["report_split"]) == {"half"}
    assert set(runs["eval_every"]) == {1}  # at the last step only: other prompts are not read
    assert set(runs["checkpoint_every"]) == {room.CHECKPOINT_EVERY}
    assert len(runs) == 2 + 2 * (2 + 4)
    scratch = runs[(runs["method"] == "dpt") & (runs["init"] != "saved")]
    assert sorted(scratch["seed"]) == sorted([1, 2, 1001, 1002] * 2)
    assert {row.run_id for row in first.tries} == {None, *runs.loc[runs["method"] == "dpt", "run_id"]}
    healed = runs[(runs["method"] == "dpt") & (runs["init"] == "saved")]
    assert sorted(healed["bottleneck"]) == [1, 1, 2, 2]
    for row in healed.to_dict("records"):
        cut = rp.rank.truncated(rp.read_prompts(row["init_from"])["final"], [int(row["bottleneck"])], "top")[
            0
        ]
        np.testing.assert_allclose(rp.Run(tmp_path / row["run_id"]).prompt("P0"), cut, atol=1e-5)
    trained = len(steps)
    assert trained > 0
    assert rp.taskrank(**ask, **SETTINGS) == first
    assert len(steps) == trained
    (place,) = tmp_path.glob(f"*/{TASK_RANK}")
    assert read_task_rank(rp.Run(place.parent)) == first
    assert json.loads(place.read_text())["needed_rank"] == 2
    assert rp.taskrank(**ask, share=0.9, **SETTINGS).share == 0.9


def test_the_functional_rank_of_a_run_is_that_of_its_final_prompt(tmp_path):
    run = rp.train(quick(method="vanilla", steps=1), runs_dir=tmp_path)
    best = {"prompt": "best", "matrix": "P", "functional_rank": 9.0, "low": 9.0, "high": 9.0}
    (run.path / "truncation.json").write_text(json.dumps({"functional_rank": [best]}))
    assert room._functional(run).functional_rank != 9
    assert list(run.truncations()) == ["final"]


def test_it_is_that_of_p_not_of_the_change(tmp_path):
    run = rp.train(quick(method="vanilla", steps=1), runs_dir=tmp_path)
    found = truncate(run)
    ranks = found.functional_rank
    found = replace(
        found, functional_rank=ranks.assign(functional_rank=ranks["matrix"].map({"P": 3.0, "dP": 7.0}))
    )
    save_truncation(run, found)
    assert room._functional(run).functional_rank == 3


def test_a_probe_run_is_cut_and_healed_for_its_seed(tmp_path, by_rank):
    by_rank(2)
    probe = rp.train(quick(**SETTINGS | {"seed": 5}), runs_dir=tmp_path)
    out = rp.taskrank(probe, seeds=[5], restarts=1, rates=[0.1], runs_dir=tmp_path)
    assert [row.kind for row in out.tries if row.k == 2] == ["cut", "cut", "healed", "healed", "scratch"]
    assert (probe.path / TASK_RANK).exists()
    assert out.needed_rank == 2


def test_a_vanilla_run_is_its_own_reference_and_a_try_that_fails_is_a_try(tmp_path, by_rank, monkeypatch):
    by_rank(1)
    whole = room.train_cohort

    def failing(configs, **given):
        runs = whole([config for config in configs if config.learning_rate != 0.7], **given)
        if len(runs) < len(configs):
            raise RunFailed("the loss is nan")
        return runs

    monkeypatch.setattr(room, "train_cohort", failing)
    own = rp.train(quick(**SETTINGS | {"seed": 5, "method": "vanilla"}), runs_dir=tmp_path, name="mine")
    out = rp.taskrank(own, seeds=[5], restarts=1, rates=[0.1, 0.7], runs_dir=tmp_path)
    assert out.needed_rank == 1
    assert [path.name for path in tmp_path.glob("*vanilla*")] == []
    assert {row.run_id for row in out.functional} == {"mine"}
    assert [row.report is None for row in out.tries if row.learning_rate == 0.7] == [True] * 4
    with pytest.raises(RunFailed, match="the loss is nan"):
        rp.taskrank(own, seeds=[5], restarts=1, rates=[0.7], runs_dir=tmp_path)


def test_wrong_labels_are_refused(tmp_path, by_rank):
    by_rank(1000)
    with pytest.raises(RankprobeError, match="vanilla has no certain gain over the baseline"):
        rp.taskrank(seeds=[1, 2], runs_dir=tmp_path, **SETTINGS | {"control": "shuffle-labels"})
    assert len(list(tmp_path.glob("cb-vanilla-*"))) == len(list(tmp_path.iterdir())) == 2
