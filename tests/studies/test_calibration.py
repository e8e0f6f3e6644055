"""Planted ranks: the target is what it is said to be, the training that of runs, the readings right by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from rankprobe import rank
from rankprobe.errors import RankprobeError
from rankprobe.plots.calibration import READING_GROUPS, calibration
from rankprobe.prompts.config import DPTConfig, ProbeConfig, VanillaConfig
from rankprobe.studies import calibration as room
from rankprobe.studies.calibration import Problem, calibrate, functional_ranks, planted_matrix, summary

SMALL = {"shape": (12, 16), "steps": 120, "seeds": (0, 1)}


def reading(frame: pd.DataFrame, name: str, column: str = "recovered") -> list[float]:
    return frame.loc[frame["reading"] == name, column].tolist()


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    methods = (ProbeConfig(), ProbeConfig(gate="none"), DPTConfig(bottleneck=4), VanillaConfig())
    return calibrate(methods=methods, planted=(0, 3), noise=(0.1,), **SMALL)


@pytest.mark.parametrize("r", [1, 5, 12])
def test_every_measure_of_the_target_says_its_rank(r):
    target = planted_matrix(r, (12, 40), seed=3)
    assert np.square(target).mean() == pytest.approx(1)
    found = rank.measure_spectrum(rank.singular_values(target), target.shape)
    for name in ("numerical_rank", "erank_rv", "erank_energy", "stable_rank", "participation_ratio"):
        assert found[name] == pytest.approx(r)


def test_the_frame_is_tidy(small):
    assert not small.duplicated(["planted", *room.SETTING, "seed", "reading"]).any()
    counts = small[(small["reading"] == "P_erank_rv") & (small["planted"] > 0)]
    nulls = counts[list(room.NULLS.values())]
    assert nulls.notna().all().all()
    assert (nulls.nunique(axis=1) == 3).all()
    assert small.groupby(["method", "gate"]).ngroups == 4
    for name in (name.format("P") for group in READING_GROUPS.values() for name in group):
        assert name in set(small["reading"])


def test_what_was_planted_is_found_by_the_objective(small):
    for _, part in small[small["planted"] == 3].groupby(["method", "gate"]):
        assert reading(part, "P_functional_best") == [3, 3]
        assert all(math.isnan(value) for value in reading(part, "P_functional_best", "twin"))


def test_nothing_is_found_where_nothing_was_planted(small):
    noise = small[small["planted"] == 0]
    for name in ("P_functional", "P_functional_best", "dP_functional", "dP_functional_best"):
        assert all(math.isnan(value) for value in reading(noise, name))


def test_a_rank_planted_in_the_update_is_found_in_the_update():
    frame = calibrate(methods=(VanillaConfig(),), planted=(3,), noise=(0.1,), planted_in="dP", **SMALL)
    assert reading(frame, "dP_functional_best") == [3, 3]
    assert reading(frame, "dP_energy_95") == [3, 3]
    assert min(reading(frame, "P_functional_best") + reading(frame, "P_energy_95")) > 4


def test_noise_kills_the_probe_and_its_twin_alike_at_a_high_rate_only():
    rates = {"learning_rates": (0.3, 0.01), "planted": (0,), "shape": (16, 16), "steps": 400}
    frame = calibrate(methods=(ProbeConfig(),), seeds=range(4), **rates)
    high, low = frame[frame["learning_rate"] == 0.3], frame[frame["learning_rate"] == 0.01]
    for column in ("recovered", "twin"):
        assert np.mean(reading(high, "n_positive", column)) < 12
        assert reading(low, "n_positive", column) == [16] * 4
    told = summary(frame).set_index("reading")["verdict"]
    assert all(words.startswith("not distinguishable from its null") for words in told["n_positive"])


def test_runs_depend_on_their_seed_alone():
    once = calibrate(methods=(ProbeConfig(),), planted=(2,), shape=(6, 8), steps=20, seeds=(1, 2))
    again = calibrate(methods=(ProbeConfig(),), planted=(5, 2), shape=(6, 8), steps=20, seeds=(2,))
    same = once[once["seed"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(again[again["planted"] == 2].reset_index(drop=True), same)
    assert reading(once[once["seed"] == 1], "P_erank_rv") != reading(same, "P_erank_rv")


def test_the_twin_gets_noise_as_large_as_the_gradient(monkeypatch):
    sizes, norms = [], []
    gradient, like = Problem.gradient, rank.gaussian_like

    def spied_gradient(self, P, rng):
        found = gradient(self, P, rng)
        sizes.append(np.linalg.norm(found))
        return found

    def spied_noise(shape, norm, rng):
        norms.append(norm)
        return like(shape, norm, rng)

    monkeypatch.setattr(Problem, "gradient", spied_gradient)
    monkeypatch.setattr("rankprobe.training.gradients.gaussian_like", spied_noise)
    calibrate(methods=(ProbeConfig(),), planted=(2,), shape=(6, 8), steps=5, seeds=(0,))
    assert len(norms) == 5
    assert norms == pytest.approx(sizes)


def test_without_noise_the_gradient_is_that_of_the_squared_error():
    problem = Problem(target := planted_matrix(2, (6, 8), seed=0), noise=0.0)
    P, step = np.ones((6, 8)), 1e-6
    moved = P.copy()
    moved[2, 3] += step
    slope = -(problem.score(moved) - problem.score(P)) * P.size / step
    assert problem.gradient(P, np.random.default_rng(0))[2, 3] == pytest.approx(slope, rel=1e-4)
    assert np.linalg.norm(problem.gradient(0 * P, np.random.default_rng(0))) == pytest.approx(
        2 * np.linalg.norm(target)
    )


@pytest.mark.parametrize(
    ("s", "functional", "best"),
    [
        ((3, 2, 1), 2, 2),  # gains of k = 1, 2, 3: 9, 13, 12
        ((3, 2, 1.9), 1, 2),  # 9, 13, 9.4: with all of the noise, P is hardly better than one direction
        ((3, 1, 0), 2, 2),  # 9, 12, 12
    ],
)
def test_functional_ranks_by_hand(s, functional, best):
    problem = Problem(np.diag([3.0, 2.0, 0.0]), noise=0.0)
    found = functional_ranks(np.diag(np.array(s, dtype=float)), np.zeros((3, 3)), problem)
    assert found == {"functional": functional, "functional_best": best}


def test_the_summary_counts_what_is_within_one_and_an_undefined_reading_as_a_miss():
    setting = dict(zip(room.SETTING, ("probe", "relu", False, "P", 1.0, 0.3, 10), strict=True))
    rows = [
        {"planted": 5, **setting, "seed": seed, "reading": "x", "recovered": value, "twin": twin}
        for seed, (value, twin) in enumerate([(4, 9), (6, 10), (7, 11), (math.nan, 10)])
    ]
    (row,) = summary(pd.DataFrame(rows)).to_dict("records")
    assert row["within_one"] == 0.5
    assert (row["seeds"], row["recovered"], row["twin"]) == (4, pytest.approx(17 / 3), 10)
    assert row["verdict"] == "below its null"
    (row,) = summary(pd.DataFrame(rows).assign(haar=[4, 6, 7, 7], flip_block=9)).to_dict("records")
    assert (row["haar"], row["flip_block"]) == (6, 9)
    assert row["verdict"].startswith("not distinguishable from its nulls")


def test_the_figure_holds_the_means_and_the_band_of_noise(small):
    figure = calibration(small[small["method"] == "vanilla"])
    axes = dict(zip(READING_GROUPS, figure.axes, strict=True))["beyond an edge of noise"]
    drawn = {line.get_label(): line for line in axes.get_lines()}
    found = small[(small["method"] == "vanilla") & (small["planted"] == 3)]
    mean = np.mean(reading(found, "P_gavish_donoho"))
    assert np.asarray(drawn["P_gavish_donoho"].get_ydata()).tolist() == [mean]
    assert np.asarray(drawn["recovered = planted"].get_ydata()).tolist() == [0, 3]
    assert len(axes.patches) == 4  # of noise alone
    objective = figure.axes[list(READING_GROUPS).index("kept gain in the objective")]
    assert [text.get_text() for text in objective.texts] == ["of noise alone: undefined"]


def test_the_figure_shows_every_value_and_labels_in_two_lines(small):
    figure = calibration(small)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.get_lines():
            assert all(low < y < high for y in line.get_ydata())
        assert all(
            patch.get_extents().transformed(axes.transData.inverted()).y1 < high for patch in axes.patches
        )
    assert figure.axes[0].get_ylabel().splitlines()[1:] == ["lr 0.3, noise 0.1", "recovered rank"]


def test_what_cannot_be_planted_is_refused():
    with pytest.raises(
        RankprobeError, match=r"planted ranks \[13\]; expected 0 to 12 in a prompt \(12, 16\)"
    ):
        calibrate(planted=(13,), shape=(12, 16))


def test_a_figure_of_noise_alone_is_refused(small):
    with pytest.raises(RankprobeError, match="needs a planted rank above 0"):
        calibration(small[small["planted"] == 0])
