"""Replicates of a run: what they share, what they do not, and that a second call trains only what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.config.folders import config_of
from rankprobe.errors import RankprobeError
from rankprobe.runs.replication import read_replication
from rankprobe.studies import replicate as replicate_runs
from rankprobe.studies.replicate import (
    CAUTION,
    DIFFERENT,
    READINGS,
    SAME,
    SHUFFLED,
    Replication,
    _plain,
    replicate_configs,
    summary_of,
)

SETTINGS = {"method": "vanilla", "steps": 6, "eval_every": 6, "learning_rate": 0.3, "seed": 5}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    run = rp.train(quick(**SETTINGS), runs_dir=tmp_path_factory.mktemp("runs"), name="base")
    return run, rp.replicate(run, pairs=2)


def runs_of(result, kind):
    by_id = {run.id: run for run in result.runs}
    rows = result.pairs[result.pairs["kind"] == kind]
    return [(by_id[a], by_id[b]) for a, b in zip(rows["a"], rows["b"], strict=True)]


def test_pairs_share_their_start_or_do_not(done):
    run, result = done
    for kind in (SAME, SHUFFLED):
        for a, b in runs_of(result, kind):
            np.testing.assert_array_equal(a.prompt("P0"), b.prompt("P0"))
            assert not np.array_equal(a.prompt(), b.prompt())
    for a, b in runs_of(result, DIFFERENT):
        assert not np.array_equal(a.prompt("P0"), b.prompt("P0"))
    first = runs_of(result, SAME)[0][0]
    np.testing.assert_array_equal(first.prompt("P0"), run.prompt("P0"))
    np.testing.assert_allclose(first.prompt(), run.prompt(), rtol=1e-4, atol=1e-5)  # the run, without twins


def test_all_replicates_have_seeds_of_their_own_and_each_shuffle_is_another(done):
    _, result = done
    true = [config_of(run) for pair in runs_of(result, SAME) for run in pair]
    shuffled = [config_of(run) for pair in runs_of(result, SHUFFLED) for run in pair]
    assert [each.seed for each in true] == [each.seed for each in shuffled] == [5, 6, 7, 8]
    assert [each.start_seed for each in true] == [each.start_seed for each in shuffled] == [5, 5, 6, 6]
    assert {each.control for each in true} == {"none"}
    assert {each.control for each in shuffled} == {"shuffle-labels"}


def test_the_outcome_is_in_the_run_folder_and_on_its_page(done, tmp_path):
    run, result = done
    outcome = read_replication(run)
    assert outcome
    assert [row.kind for row in outcome.kinds] == [SAME, DIFFERENT, SHUFFLED]
    summary = result.summary.set_index(["kind", "reading"])
    for row in outcome.kinds:
        expected = summary.loc[(row.kind, "cv_rank")]
        assert (row.cv_rank, row.low, row.high) == tuple(expected[["mean", "low", "high"]])
        assert row.replicate_edge == summary.loc[(row.kind, "replicate_edge"), "mean"]
    page = rp.report([run], tmp_path / "page.html").read_text()
    assert "The rank that is reproducible" in page
    assert "shuffled labels" in page


def test_each_number_has_its_place_in_the_file():
    pairs = pd.DataFrame(
        [
            {
                "kind": kind,
                "pair": i,
                "agreement": 0.1 * i + j / 100,
                "cv_rank": i + j,
                "replicate_edge": 7 * i,
            }
            for j, kind in enumerate((SAME, DIFFERENT, SHUFFLED))
            for i in range(1, 4)
        ]
    )
    outcome = _plain(Replication(pairs, summary_of(pairs, 20), "above", []), disjoint=True)
    first, *_, last = outcome.kinds
    assert (outcome.disjoint, outcome.verdict) == (True, "above")
    assert (first.kind, first.pairs, first.cv_rank, first.replicate_edge) == (SAME, 3, 2.0, 14.0)
    assert first.low == 0.0  # Student's interval reaches below it: 2 - 2.48
    assert first.high == pytest.approx(2 + 4.302653 / 3**0.5)
    assert first.agreement == pytest.approx(0.2)
    assert (last.kind, last.cv_rank) == (SHUFFLED, 4.0)
    assert last.low == pytest.approx(4 - 4.302653 / 3**0.5)


def test_readings_are_those_of_the_updates(done):
    _, result = done
    for row in result.pairs.to_dict("records"):
        a, b = (rp.Run(result.runs[0].path.parent / row[name]) for name in ("a", "b"))
        dP = [run.prompt().astype(float) - run.prompt("P0").astype(float) for run in (a, b)]
        assert row["cv_rank"] == rp.rank.cv_rank(dP)
        assert row["replicate_edge"] == rp.rank.replicate_edge(dP)
        cosine = np.corrcoef(dP[0].ravel(), dP[1].ravel())[0, 1]
        assert row["agreement"] == pytest.approx(cosine, abs=0.05)


def test_a_second_call_trains_only_what_is_missing(done):
    run, result = done
    before = {each.id: (each.path / "prompt.safetensors").stat().st_mtime_ns for each in result.runs}
    seen = set()
    more = rp.replicate(run, pairs=3, hooks=[lambda record: seen.add(record.run_id) or {}])
    assert seen == {each.id for each in more.runs} - set(before)
    assert len(seen) == 4
    after = {each.id: (each.path / "prompt.safetensors").stat().st_mtime_ns for each in more.runs}
    assert {name: after[name] for name in before} == before
    assert more.verdict.startswith("not distinguishable") or more.verdict in (
        "above its null",
        "below its null",
    )


def test_disjoint_pairs_have_no_row_in_common(done):
    run, _ = done
    result = replicate_runs(run, pairs=2, disjoint=True)
    for kind in (SAME, DIFFERENT, SHUFFLED):
        for pair in runs_of(result, kind):
            rows = [set(map(str, each.manifest["data"]["train_rows"])) for each in pair]
            assert len(rows[0]) == len(rows[1]) == 125
            assert not rows[0] & rows[1]


def test_halves_are_trained_on_for_twice_the_epochs():
    config = quick(method="vanilla", epochs=3, stop_after=2, steps=None)
    (one, *_) = replicate_configs(config, 2, True, None)
    assert (one.epochs, one.stop_after, one.train_half) == (6, 4, "first")
    (other, *_) = replicate_configs(quick(method="vanilla", steps=7), 2, True, None)
    assert other.steps == 7


def test_intervals_are_students_over_pairs(done):
    _, result = done
    for row in result.summary.to_dict("records"):
        values = result.pairs.loc[result.pairs["kind"] == row["kind"], row["reading"]]
        half = 12.7062 * values.std() / np.sqrt(2)  # t of one degree of freedom
        assert row["mean"] == values.mean()
        assert row["low"] == pytest.approx(max(0, values.mean() - half), rel=1e-4)
        assert row["high"] == pytest.approx(min(8, values.mean() + half), rel=1e-4)
    assert set(summary_of(result.pairs, 8)["reading"]) == set(READINGS)


def test_the_command_prints_three_numbers_and_the_caution(done, capsys, tmp_path):
    run, _ = done
    out = tmp_path / "pairs.csv"
    command = ["replicate", "base", "--pairs", "2", "--runs-dir", str(run.path.parent), "--output", str(out)]
    with pytest.raises(SystemExit) as left:
        main(command)
    told = capsys.readouterr().out
    assert not left.value.code
    for kind in (SAME, DIFFERENT, SHUFFLED):
        assert f"\n{kind}" in told
    assert "reproducible rank of dP, miniature CB" in told
    assert CAUTION in told
    assert len(out.read_text().splitlines()) == 1 + 6


def test_what_cannot_be_replicated_is_refused(done, tmp_path):
    run, result = done
    with pytest.raises(RankprobeError, match="pairs is 1; expected at least 2"):
        rp.replicate(run, pairs=1)
    shuffled = runs_of(result, SHUFFLED)[0][0]
    with pytest.raises(RankprobeError, match="is a control"):
        rp.replicate(shuffled)
    whole = rp.train(quick(method="finetune", steps=1, eval_every=1), runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match="has no prompt to replicate"):
        rp.replicate(whole)
