"""Sentences derived from the numbers of runs."""

from __future__ import annotations

import json

import pytest

from rankprobe.errors import RankprobeError
from rankprobe.reports import findings
from rankprobe.reports.findings import REACTS
from rankprobe.runs import Run


def run(folder, seed=0, *, truncation=None, source="hub", random=False, control="none", **readings) -> Run:
    """A finished run with the parts that `findings` reads."""
    path = folder / f"run-{seed}"
    path.mkdir()
    row = {"n_positive": 37, "n_negative": 63, "n_zero": 0, "gaussian_n_positive": 12}
    row |= {"P_numerical_rank": 100, "P_erank_rv": 80.5, "gaussian_P_erank_rv": 9.0} | readings
    manifest = {
        "readings": {name: value for name, value in row.items() if value is not None},
        "status": "finished",
        "backbone": {"label": "tiny", "random_weights": random},
        "data": {"label": "CB", "source": source, "n_train": 250, "n_validation": 56},
        "config": {
            "seed": seed,
            "task": {"name": "cb", "control": control},
            "method": {"name": "probe", "prompt_length": 100},
        },
        "trainable_parameters": 1,
        "progress": {"step": 9, "total_steps": 9},
        "timings": {},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    if truncation is not None:
        rows = [{"matrix": name, **values} for name, values in truncation.items()]
        (path / "truncation.json").write_text(json.dumps({"functional_rank": rows}))
    return Run(path)


TRUNCATION = {
    "P": {"functional_rank": 6, "low": 4, "high": 9},
    "dP": {"functional_rank": 5, "low": 3, "high": 8},
}


def test_one_seed_has_no_verdict(tmp_path):
    count, present, used = findings([run(tmp_path, n_positive=18, n_negative=82)])
    assert count == (
        "18 of 100 diagonal entries stayed positive; the Gaussian twin kept 12. One seed: no verdict, so the count "
        "alone is not evidence of low rank."
    )
    assert present == (
        "P has numerical rank 100; its effective rank is 80.5, that of the Gaussian twin 9. One seed: no verdict."
    )
    assert used.startswith("The functional rank is not known yet; measure it: rankprobe truncate ")


def test_a_probe_with_only_dead_entries(tmp_path):
    assert findings([run(tmp_path, n_positive=0, n_negative=100)])[0] == (
        "0 of 100 diagonal entries stayed positive: P is zero and stays zero, as a dead entry gets no gradient; "
        "try a lower --learning-rate."
    )


def test_counts_distinguishable_from_the_twins(tmp_path):
    runs = [run(tmp_path, seed, n_positive=60 + seed, gaussian_n_positive=12 - seed) for seed in range(5)]
    assert "62 ± 1.6" in findings(runs)[0]
    assert findings(runs)[0].endswith(
        "(mean of 5 seeds); the Gaussian twin kept 10 ± 1.6: above its null, against the Gaussian twin alone. "
        + REACTS
    )
    below = [
        run(tmp_path, 10 + seed, n_positive=10 - seed, gaussian_n_positive=60 + seed) for seed in range(5)
    ]
    assert findings(below)[0].endswith(f"below its null, against the Gaussian twin alone. {REACTS}")


def test_functional_rank(tmp_path):
    used = findings([run(tmp_path, truncation=TRUNCATION)])[-1]
    assert used.startswith("The functional rank is 6 (4–9) of P and 5 (3–8) of ΔP (added to P0): ")
    undefined = {name: {"functional_rank": None, "low": None, "high": None} for name in TRUNCATION}
    sentence = findings([run(tmp_path, 1, truncation=undefined)])[-1]
    assert sentence == "The score does not exceed the baseline, so the functional rank is undefined."


def test_without_twin_or_diagonal(tmp_path):
    assert (
        "no noise twin, so the count says nothing" in findings([run(tmp_path, gaussian_n_positive=None)])[0]
    )
    vanilla = run(tmp_path, 1, n_positive=None, n_negative=None, n_zero=None, gaussian_n_positive=None)
    assert findings([vanilla])[0].startswith("P has numerical rank")


def test_caveats_come_first(tmp_path):
    first = findings([run(tmp_path, source="bundled", random=True, control="shuffle-labels")])[0]
    assert first == (
        "Note that the model has random weights; the task is a miniature of ours, not SuperGLUE; the "
        "training labels do not belong to the texts."
    )


def test_a_run_without_a_logged_step_is_refused(tmp_path):
    bare = run(tmp_path)
    (bare.path / "manifest.json").write_text(json.dumps({**bare.manifest, "readings": {}}))
    with pytest.raises(RankprobeError, match="nothing to report"):
        findings([bare])


def truncations(*ranks):
    """Truncation results of seeds with these functional ranks; None: the score does not exceed the baseline."""
    rows = [
        {"functional_rank": r, "low": r and r - 2, "high": r and r + 4 * i} for i, r in enumerate(ranks, 1)
    ]
    return [{"P": row, "dP": row} for row in rows]


def test_seeds_without_a_functional_rank_are_counted(tmp_path):
    runs = [
        run(tmp_path, seed, truncation=truncation) for seed, truncation in enumerate(truncations(4, None, 8))
    ]
    used = findings(runs)[-1]
    assert used.startswith(
        "2 of 3 seeds learned, as their score exceeds the baseline (9% to 99%, the 95 % interval of Clopper and "
        "Pearson). The functional rank is 6 ± 2.8 of P (mean of the 2 of 3 seeds that learned; 2–20 from the lowest to the highest limit of the seeds' own intervals, each of 95 % over dev examples) and 6"
    )


def test_limits_of_several_seeds_are_not_called_an_interval_of_the_mean(tmp_path):
    used = findings(
        [run(tmp_path, seed, truncation=truncation) for seed, truncation in enumerate(truncations(4, 8))]
    )[-1]
    assert "(mean of 2 seeds; 2–16 from the lowest to the highest limit of the seeds' own intervals" in used
    assert "the 95 % interval over" not in used
    one = findings([run(tmp_path, 9, truncation=TRUNCATION)])[-1]
    assert one.endswith("(95 % interval over dev examples).")


def test_an_interval_says_how_many_resamples_have_no_rank(tmp_path):
    for defined, seed in ((0.6, 1), (0.96, 2)):
        truncation = {name: {**row, "defined": defined} for name, row in TRUNCATION.items()}
        used = findings([run(tmp_path, seed, truncation=truncation)])[-1]
        assert f"6 (4–9, undefined in {1 - defined:.0%} of resamples) of P" in used
        assert used.endswith("so neither is this rank.") == (defined < 0.95)


def test_every_run_without_truncation_is_named(tmp_path):
    runs = [run(tmp_path, 1), run(tmp_path, 2, truncation=TRUNCATION), run(tmp_path, 3)]
    assert findings(runs)[-1].endswith(f"rankprobe truncate {runs[0].path} {runs[2].path}")


def test_readings_that_some_seeds_lack_say_how_many_seeds_have_them(tmp_path):
    runs = [
        run(tmp_path, 1),
        run(
            tmp_path,
            2,
            gaussian_n_positive=None,
            P_numerical_rank=None,
            P_erank_rv=None,
            gaussian_P_erank_rv=None,
        ),
    ]
    count, present, _ = findings(runs)
    assert "(mean of 2 seeds); the Gaussian twin kept 12 (1 of 2 seeds). One seed: no verdict, so" in count
    assert present == (
        "P has numerical rank 100 (1 of 2 seeds); its effective rank is 80.5 (1 of 2 seeds), that of the Gaussian "
        "twin 9 (1 of 2 seeds). One seed: no verdict."
    )


def several(folder, seeds, haar, flips, **readings):
    """Runs with 60, 61, … positive entries and three twins, which have about 12, `haar` and `flips`."""
    twins = {"gaussian_n_positive": 12, "haar_n_positive": haar, "flip_block_n_positive": flips}
    twins |= {"haar_P_erank_rv": 70.0, "flip_block_P_erank_rv": 79.0}
    return [
        run(
            folder,
            seed,
            n_positive=60 + i,
            P_erank_rv=80.5 + i % 2,
            **{name: value + (i * i) % 3 for name, value in twins.items()},
            **readings,
        )
        for i, seed in enumerate(seeds)
    ]


def test_every_twin_is_named_and_all_must_agree(tmp_path):
    count, present, _ = findings(several(tmp_path, range(5), haar=30, flips=40))
    assert count == (
        "62 ± 1.6 of 125 diagonal entries stayed positive (mean of 5 seeds); the twins kept 12.6 ± 0.5 (Gaussian), "
        "30.6 ± 0.5 (Haar), 40.6 ± 0.5 (block-flip): above its nulls. " + REACTS
    )
    assert present == (
        "P has numerical rank 100 ± 0.0; its effective rank is 80.9 ± 0.5, those of the twins 9 ± 0.0 (Gaussian), "
        "70.6 ± 0.5 (Haar), 79.6 ± 0.5 (block-flip): not distinguishable from its nulls (least detectable effect 2.2)."
    )
    close = findings(several(tmp_path, range(10, 15), haar=30, flips=62))[0]
    assert close.endswith(
        "62.6 ± 0.5 (block-flip): not distinguishable from its nulls (least detectable effect 4.0), so the "
        "count alone is not evidence of low rank."
    )


def test_one_seed_with_several_twins_has_no_verdict(tmp_path):
    count, present, _ = findings(several(tmp_path, [0], haar=30, flips=40))
    assert "the twins kept 12 (Gaussian), 30 (Haar), 40 (block-flip). One seed: no verdict, so the" in count
    assert present.endswith(
        "those of the twins 9 (Gaussian), 70 (Haar), 79 (block-flip). One seed: no verdict."
    )


def test_a_twin_that_diverged_has_a_note(tmp_path):
    runs = several(tmp_path, range(3), haar=30, flips=40)
    lost = run(tmp_path, 9, n_positive=63, flip_block_n_positive=40)
    manifest = lost.manifest
    manifest["readings"] |= {"haar_n_positive": None, "haar_P_erank_rv": None}
    (lost.path / "manifest.json").write_text(json.dumps(manifest))
    assert "30.7 ± 0.6 (Haar; diverged in 1 of 4 runs), " in findings([*runs, lost])[0]
    count, present, _ = findings([lost])
    assert "the twins kept 12 (Gaussian), – (Haar; diverged in 1 of 1 runs), 40 (block-flip)" in count
    assert "9 (Gaussian), – (Haar; diverged in 1 of 1 runs). " in present
    assert "No verdict, as it needs 3 seeds and 'haar' has 0" in findings([*[lost] * 3])[0]


def test_the_level_is_for_all_readings_together(tmp_path):
    """Alone, the count would be above its null: t = 5.0 with 4 degrees of freedom, p = 0.0076."""
    counts = [19, 29, 24, 34, 22]
    runs = [run(tmp_path, i, n_positive=counts[i], P_erank_rv=9 + i % 2) for i in range(5)]
    assert ": not distinguishable from its null (least detectable effect" in findings(runs)[0]
    vanilla = [run(tmp_path, 9 + i, n_positive=counts[i], P_erank_rv=None) for i in range(5)]
    assert ": above its null" in findings(vanilla)[0]


def test_several_seeds_have_an_interval_over_seeds_and_examples(tmp_path):
    rows = [
        {"functional_rank": r, "below": r - 1, "low": r, "high": r + 1, "resampled": [r, None, r + 1]}
        for r in (4, 8)
    ]
    runs = [run(tmp_path, seed, truncation={"P": row}) for seed, row in enumerate(rows)]
    assert findings(runs)[-1].startswith(
        "2 of 2 seeds learned, as their score exceeds the baseline (16% to 100%, the 95 % interval of Clopper and "
        "Pearson). The functional rank is 6 ± 2.8 of P (mean of 2 seeds; 4.0–9.0, the 95 % interval over seeds and "
        "dev examples): this many"
    )


def test_a_rank_between_two_measured_k_is_a_range(tmp_path):
    row = {"functional_rank": 18, "below": 10, "low": 11, "high": 32}
    assert "is 11 to 18 (11–32) of P: " in findings([run(tmp_path, truncation={"P": row})])[-1]


def test_the_rank_of_the_best_prompt_is_called_so_and_not_mixed_with_final_ones(tmp_path):
    best = {name: row | {"prompt": "best"} for name, row in TRUNCATION.items()}
    runs = [run(tmp_path, 1, truncation=best), run(tmp_path, 2, truncation=TRUNCATION)]
    used = findings(runs[:1])[-1]
    assert used.startswith("The functional rank of the best prompt is 6 (4–9) of P and 5 (3–8) of ΔP")
    assert findings(runs)[-1] == (
        "The functional ranks of the seeds are of different prompts; measure them alike: "
        f"rankprobe truncate {runs[0].path} {runs[1].path}"
    )
    undefined = {"P": {"functional_rank": None, "prompt": "best"}}
    assert findings([run(tmp_path, 3, truncation=undefined)])[-1] == (
        "The score does not exceed the baseline, so the functional rank of the best prompt is undefined."
    )


def test_orders_of_directions_are_named_and_not_mixed(tmp_path):
    row = TRUNCATION["P"] | {"order": "sensitivity"}
    runs = [run(tmp_path, 1, truncation={"P": row}), run(tmp_path, 2, truncation=TRUNCATION)]
    assert "singular directions, most sensitive first, keep" in findings(runs[:1])[-1]
    assert findings(runs)[-1] == (
        "The functional ranks of the seeds are of different orders of directions; measure them alike: "
        f"rankprobe truncate {runs[0].path} {runs[1].path}"
    )
