"""The interval of a functional rank contains the functional rank on all texts and all k.

`RANKPROBE_COVERAGE=200 pytest -s tests/studies/test_coverage.py` plants 200 prompts in about 20 minutes, and
prints the coverage by size of the dev set.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from rankprobe.studies.coverage import interval_coverage, planted_answers, planted_prompt

COUNT = int(os.environ.get("RANKPROBE_COVERAGE", "0"))


def planted_curve(rng: np.random.Generator, n: int = 100, texts: int = 2000):
    """Answers to a text are right from its own k on, which spreads around a common one; 3 % are flipped."""
    common, spread = rng.uniform(2, n / 2), rng.uniform(0.05, 0.5)
    from_k = common * np.exp(spread * rng.standard_normal(texts))
    correct = np.arange(n + 1)[:, None] >= from_k
    constant = rng.random(texts) < 0.5
    return correct ^ (rng.random(texts) < 0.03), np.stack([constant, ~constant])


def test_the_interval_covers_the_truth_of_200_planted_curves():
    rng = np.random.default_rng(0)
    found = interval_coverage([planted_curve(rng) for _ in range(200)], dev_sizes=(100, 277))
    assert found.groupby("dev").size().tolist() == [200, 200]
    assert (found.groupby("dev")["covered"].mean() >= 0.93).all()
    assert found["truth"].between(2, 100).all()
    assert found["truth"].nunique() > 40
    assert (found["high"] - found["low"] < found["truth"]).mean() > 0.8  # the intervals say something
    assert (found["n_ks"] <= 9 + 9).mean() > 0.95


def test_the_interval_covers_the_truth_of_planted_prompts(tmp_path):
    """A small version of the campaign, with the prompts of one short training."""
    planted = list(
        planted_answers(
            4,
            task="copa",
            data="bundled",
            prompt_length=8,
            steps=60,
            n_seeds=1,
            n_texts=100,
            runs_dir=tmp_path,
        )
    )
    found = interval_coverage(planted, dev_sizes=(100,), repeats=20)
    assert len(found) >= 60
    assert found["covered"].mean() >= 0.9


def test_what_is_undefined_is_left_out():
    rng = np.random.default_rng(0)
    correct, constant = planted_curve(rng)
    constant[0] = True  # the baseline is always right
    assert interval_coverage([(correct, constant)]).empty


def test_a_planted_prompt_has_full_rank_and_follows_the_seed():
    trained = np.random.default_rng(0).standard_normal((6, 9))
    one, same, other = (planted_prompt(trained, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.linalg.matrix_rank(one) == 6
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


@pytest.mark.skipif(not COUNT, reason="set RANKPROBE_COVERAGE=200")
def test_campaign(tmp_path):
    found = interval_coverage(list(planted_answers(COUNT, runs_dir=tmp_path)))
    sys.stdout.write(found.groupby("dev")["covered"].agg(["size", "mean"]).to_string())
    covered = found[found["dev"] >= 100].groupby("dev")["covered"].mean()
    assert (covered >= 0.93).all()
