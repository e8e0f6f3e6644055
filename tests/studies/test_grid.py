"""The calibration grid: what is planted, how noisy it is, and what the summary says of made-up readings."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from rankprobe import rank
from rankprobe.config.sections import TrainingConfig
from rankprobe.errors import RankprobeError
from rankprobe.prompts.config import ProbeConfig, VanillaConfig
from rankprobe.studies.grid import (
    NOISES,
    SPECTRA,
    calibrate_grid,
    format_ranges,
    grid_summary,
    known_ranges,
    least_agreement,
    noises,
    operating_ranges,
    planted_update,
    shares_within,
    stress,
    trained_update,
)


@pytest.mark.parametrize("name", SPECTRA)
def test_a_planted_update_has_its_rank_its_spectrum_and_unit_entries(name):
    target = planted_update(5, SPECTRA[name], (12, 16), seed=1)
    s = np.linalg.svd(target, compute_uv=False)
    assert (s[:5] > 1e-6).all()
    assert (s[5:] < 1e-9).all()
    assert s[0] / s[4] == pytest.approx(SPECTRA[name])
    np.testing.assert_allclose(s[1:5] / s[:4], s[1] / s[0])
    assert np.square(target).mean() == pytest.approx(1)


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_unit_size_and_is_independent_between_replicates(kind):
    one, other = (np.stack(list(noises(kind, (20, 30), 0, replicate, 200))) for replicate in (0, 1))
    assert np.square(one).mean() == pytest.approx(1, rel=0.05)
    assert abs((one * other).mean()) < 0.02
    following = (one[1:] * one[:-1]).mean() / np.square(one).mean()
    assert following == pytest.approx(0.8 * 0.4 if kind == "AR(0.4)" else 0, abs=0.02)
    sizes = np.sqrt(np.square(one).mean(0))
    assert (sizes.max() / sizes.min() > 20) == (kind == "anisotropic")


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("r", [0, 1, 20, 50])
def test_cv_rank_finds_what_is_planted_in_prompts_of_full_size(noise, r):
    """Within two of the planted rank; the docs have the table of ten seeds."""
    target = planted_update(r, 1.0, (100, 128), seed=3) if r else None
    training, level = TrainingConfig(steps=250), 10.0
    pair = [
        trained_update(VanillaConfig(prompt_length=100), training, target, level, noise, 3, i, (100, 128))[1]
        for i in (0, 1)
    ]
    assert abs(rank.cv_rank(pair) - r) <= (2 if r else 0)


def test_more_steps_at_a_lower_rate_recover_weak_directions():
    """Of 5 planted: functional rank 2, cv_rank 5. docs/reading-a-rank.md has ten seeds."""
    slow = stress(3000, 0.03, planted=(5,), noises=("iid",), seeds=(0,))
    assert slow.set_index("noise").loc["iid"].to_dict() == {
        "planted": 5,
        "seed": 0,
        "cv_rank": 5,
        "functional": 2,
    }


def test_replicates_share_start_and_target_only():
    target = planted_update(2, 1.0, (6, 8), seed=0)
    config, training = VanillaConfig(prompt_length=6), TrainingConfig(steps=20)
    runs = [trained_update(config, training, target, 1.0, "iid", 4, i, (6, 8)) for i in (0, 1, 0)]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    assert not np.array_equal(runs[0][1], runs[1][1])
    np.testing.assert_array_equal(runs[0][1], runs[2][1])


def test_the_frame_has_all_readings_of_each_pair():
    small = {"planted": (0, 2), "snrs": (1.0,), "spectra": ("equal",), "noises": ("iid",), "null_seeds": 2}
    frame = pd.concat(calibrate_grid(**small, methods=(ProbeConfig(),), steps=30, shape=(8, 10)))
    assert not frame.duplicated(["noise", "spectrum", "snr", "planted", "seed", "reading"]).any()
    assert frame.groupby("planted")["seed"].nunique().to_dict() == {0: 2, 2: 1}
    expected = {"n_positive", "functional", "functional_best", "cv_rank", "replicate_edge"}
    assert set(frame["reading"]) == expected | set(rank.measure(np.eye(3)).index)
    pairs = pd.concat(calibrate_grid(**small, steps=30, shape=(8, 10), pairs_only=True))
    assert set(pairs["reading"]) == {"cv_rank", "replicate_edge"}


def made_up(recovered, agreement):
    """One reading of one seed; `recovered` by planted rank and signal-to-noise ratio."""
    rows = [
        {
            "spectrum": "none" if r == 0 else "equal",
            "snr": snr,
            "planted": r,
            "seed": seed,
            "recovered": value,
        }
        for (r, snr), values in recovered.items()
        for seed, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows).assign(reading="cv_rank", method="vanilla", noise="iid")
    return frame.assign(agreement=frame["snr"].map(agreement))


def test_the_operating_range_ends_before_the_first_planted_rank_that_is_missed():
    frame = made_up(
        {
            (0, 0.0): [0, 0, 0, 2],
            (1, 1.0): [1, 1], (50, 1.0): [50, 51], (80, 1.0): [79, 80],
            (1, 0.1): [1, 2], (50, 0.1): [50, 49], (80, 0.1): [80, math.nan],
            (1, 0.05): [3, 1], (50, 0.05): [50, 50], (80, 0.05): [80, 80],
        },
        {0.0: 0.0, 1.0: 0.9, 0.1: 0.6, 0.05: 0.4},
    )  # fmt: skip
    ranges = operating_ranges(frame).set_index("snr")
    assert ranges["up_to"].to_dict() == {1.0: 80, 0.1: 50, 0.05: 0}
    assert set(ranges["size"]) == {0.25}
    assert ranges.loc[0.1, "within_one"] == pytest.approx(5 / 6)
    assert ranges.loc[0.05, "bias"] == pytest.approx(1 / 3)
    assert least_agreement(ranges.reset_index()) == 0.6
    counted = shares_within(frame)
    assert counted.loc[("iid", 0.1), 80] == "1/2"
    assert counted.loc[("iid", 0.05), 1] == "2/2"  # 3 is within two
    assert counted.loc[("iid", 0.0), 0] == "3/4"  # at r = 0, only 0 counts
    summary = grid_summary(frame).set_index(["planted", "snr"])
    assert summary.loc[(80, 0.1), "within_one"] == 0.5
    told = format_ranges(ranges.reset_index())
    assert "equal singular values" in told
    assert "4 pairs" in told


def test_the_ranges_of_the_package_hold_every_reading():
    ranges = known_ranges()
    readings = {"functional", "functional_best", "cv_rank", "replicate_edge"}
    assert set(ranges["reading"]) == readings | set(rank.measure(np.eye(3)).index)
    assert set(ranges["spectrum"]) == set(SPECTRA)
    assert 0.4 < least_agreement(ranges) < 0.8
    null = ranges[ranges["reading"] == "cv_rank"]
    assert (null["size"] <= 0.05).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"planted": (9,)}, r"planted ranks \[9\]; expected 0 to 8"),
        ({"planted": (1,), "noises": ("id",)}, "unknown noise 'id'; did you mean 'iid'"),
        ({"planted": (1,), "spectra": ("equl",)}, "unknown spectrum 'equl'; did you mean 'equal'"),
    ],
)
def test_what_is_not_on_the_grid_is_refused(wrong, message):
    with pytest.raises(RankprobeError, match=message):
        next(calibrate_grid(**wrong, shape=(8, 10)))
