"""The page on a real language model says what its kept logs say."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

import rankprobe as rp
from experiments.real.held_out import split
from rankprobe.rank import verdict, verdicts
from rankprobe.sweeps import configs_of, load_spec
from rankprobe.twins import TWINS, twin_prefix

ROOT = Path(__file__).parent.parent
SUPERGLUE = ROOT.parent / "shared/data/superglue"
PAGE = " ".join((ROOT / "docs" / "real-model.md").read_text().replace("\n>", "").split())
LABELS = {"none": "true", "shuffle-labels": "of other rows"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the kept runs."""
    folder = tmp_path_factory.mktemp("kept")
    with tarfile.open(ROOT / "figures" / "real.tar.xz") as kept:
        kept.extractall(folder, filter="data")
    return folder / "real"


@pytest.fixture(scope="module")
def frames(folder):
    return rp.load_runs(folder)


@pytest.fixture(scope="module")
def probes(frames):
    """The rows of the probes by learning rate, scale of the factors, and labels; each in the order of seeds."""
    runs = frames.runs[frames.runs["method"] == "probe"].sort_values("seed")
    return dict(list(runs.groupby(["learning_rate", "factor_scale", "control"])))


@pytest.fixture(scope="module")
def right(frames):
    """Right answers after the last step: a row per seed, by half, scoring, method, bottleneck and probe."""
    rows = frames.evals[(frames.evals["metric"] == "accuracy") & (frames.evals["step"] == 300)]
    names = ["learning_rate", "factor_scale", "control", "bottleneck"]
    rows = rows.assign(
        right=rows["value"] * rows["n_examples"] / 100, **{n: rows[n].fillna(0) for n in names}
    )
    rows = rows.assign(control=rows["control"].replace(0, "none"))
    keys = ["split", "scoring", "method", *names]
    return rows.pivot_table(index="seed", columns=keys, values="right", observed=True).sort_index()


def interval(count, n):
    """Clopper and Pearson, 95 %, of a mean number of right answers, as if all seeds gave the same ones."""
    low, high = beta.ppf([0.025, 0.975], [count, count + 1], [n - count + 1, n - count])
    return f"{100 * low:.0f} to {100 * high:.0f}"


def test_they_are_runs_of_the_experiments_on_a_real_model(folder):
    runs = rp.list_runs(folder)
    data = {"data": runs[0].manifest["config"]["data"]}
    planned = {
        config.run_id
        for name in ("emergence", "bottleneck")
        for config in configs_of(load_spec(ROOT / f"experiments/real/{name}.toml"), overrides=data)
    }
    assert {run.id for run in runs} == planned
    for run in runs:
        assert run.status == "finished"
        assert run.manifest["backbone"]["label"] == "SmolLM2-135M-Instruct, from Q4_1 weights"
        assert not run.manifest["backbone"]["random_weights"]
        assert run.manifest["data"]["label"] == "CB"


def test_the_counts_are_those_of_the_logs(probes):
    assert len(probes) == 5
    for (rate, scale, control), runs in probes.items():
        counts = runs["n_positive"]
        twins = [f"{runs[f'{twin_prefix(kind)}n_positive'].mean():.1f}" for kind in TWINS]
        start = "N(0, 1)" if scale == 1 else f"N(0, {scale:g}²)"
        span = f"{counts.mean():.1f} ({counts.min():.0f}–{counts.max():.0f})"
        assert f"| {rate:g} | {start} | {LABELS[control]} | {span} | {' | '.join(twins)} |" in PAGE


def test_the_verdicts_are_those_of_the_logs(probes):
    """A row per group of probes; the two readings of all groups are one family, as the page shows them together."""
    family = {
        (*key, name): (runs[name], {kind: runs[f"{twin_prefix(kind)}{name}"] for kind in TWINS})
        for key, runs in probes.items()
        for name in ("n_positive", "P_erank_rv")
    }
    every = verdicts(family)
    assert len(every) == 10
    assert (
        f"over the ten readings of this page, p is {every[0.3, 1.0, 'none', 'n_positive'].p_adjusted:.3f}"
        in PAGE
    )
    for rate, scale, control in probes:
        found = {name: every[rate, scale, control, name] for name in ("n_positive", "P_erank_rv")}
        start = "N(0, 1)" if scale == 1 else f"N(0, {scale:g}²)"
        rank = found["P_erank_rv"]
        twins = [f"{rank.null_means[kind]:.1f}" for kind in TWINS]
        said = [each.side or "not distinguishable" for each in found.values()]
        row = (
            f"| {rate:g} | {start} | {LABELS[control]} | {said[0]} | {rank.mean:.1f} | {' | '.join(twins)} |"
        )
        assert f"{row} {said[1]} (p = {rank.p_adjusted:.3f}) |" in PAGE


def test_the_readme_says_what_its_picture_shows(probes):
    runs = probes[0.3, 1.0, "none"]
    nulls = {kind: runs[f"{twin_prefix(kind)}n_positive"] for kind in TWINS}
    lost = sorted(20 - null.mean() for null in nulls.values())
    span = f"{lost[0]:.1f} to {lost[-1]:.1f}"
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"entries of σ turn negative: {20 - runs['n_positive'].mean():.1f} of 20. But **in its noise twins {span} turn "
        "negative**, so a falling count alone is not evidence of a low rank. At a tenth of the learning rate none "
        "turns negative."
    ) in readme
    assert f"of the paper {span}, and the probe {20 - runs['n_positive'].mean():.1f}.**" in PAGE
    assert probes[0.03, 0.15, "none"]["n_positive"].min() == 20


def test_the_count_follows_the_rate_and_not_the_labels(probes):
    slow, fast = (probes[rate, 0.15, "none"]["n_positive"].to_numpy() for rate in (0.03, 0.3))
    found = verdict(fast, {"slow": slow})
    assert found.side == "below"
    assert f"(p = {found.p:.4f}, paired over {len(fast)} seeds)" in PAGE
    shuffled = probes[0.3, 0.15, "shuffle-labels"]["n_positive"].to_numpy()
    found = verdict(fast, {"shuffled": shuffled})
    assert not found.side
    assert (
        f"{fast.mean():.1f} with true labels and {shuffled.mean():.1f} with those of other rows (p = {found.p:.2f}, "
        f"paired over {len(fast)} seeds; least detectable effect {found.least_detectable:.1f} entries)"
    ) in PAGE


def test_the_effective_rank_does_not_tell_the_labels_apart(probes):
    told = []
    for rate in (0.03, 0.3):
        true, other = (probes[rate, 0.15, control]["P_erank_rv"].to_numpy() for control in LABELS)
        found = verdict(true, {"other": other})
        assert not found.side
        told.append((true.mean(), other.mean(), found.p))
    (one, wrong, p), (fast, fast_wrong, q) = told
    assert (
        f"the ranks are {wrong:.1f} and {fast_wrong:.1f}, and they cannot be told from those with true labels "
        f"({one:.1f}, p = {p:.2f}; {fast:.1f}, p = {q:.2f}; paired over five seeds)"
    ) in PAGE


def test_the_scores_are_those_of_the_logs(right):
    """Report half and whole dev set, decoded and ranked."""
    kinds = right.columns.droplevel(["split", "scoring"]).unique()
    assert len(kinds) == 5 + 5 + 2
    for method, rate, scale, control, b in kinds:
        name = {"probe": f"probe, rate {rate:g}, N(0, {'1' if scale == 1 else f'{scale:g}²'})"}.get(
            method, method
        )
        name = f"DPT, b = {b:.0f}" if method == "dpt" else name
        name += ", labels of other rows" if control != "none" else ""
        halves = {
            (split, scoring): right[split, scoring, method, rate, scale, control, b]
            for split in ("selection", "report")
            for scoring in ("greedy", "rank")
        }
        decoded, ranked = halves["report", "greedy"], halves["report", "rank"]
        whole = decoded + halves["selection", "greedy"]
        assert (
            f"| {name} | {decoded.mean() / 0.28:.1f} ({decoded.min() / 0.28:.0f}–{decoded.max() / 0.28:.0f}) | "
            f"{interval(decoded.mean(), 28)} | {ranked.mean() / 0.28:.1f} | {whole.mean() / 0.56:.1f} | "
            f"{interval(whole.mean(), 56)} |"
        ) in PAGE


def test_what_is_learned(right):
    """With true labels the probe answers more rows than with those of other rows."""
    for rate in (0.03, 0.3):
        true, other = (
            sum(right[split, "greedy", "probe", rate, 0.15, control, 0] for split in ("selection", "report"))
            for control in ("none", "shuffle-labels")
        )
        found = verdict(true / 0.56, {"other": other / 0.56})
        assert found.side == "above"
        assert (
            f"rate {rate:g}: {found.mean:.1f} against {found.null_means['other']:.1f} (p = {found.p:.4f})"
            in PAGE
        )


def test_no_bottleneck_is_told_from_vanilla(right):
    report = right["report"]["greedy"]
    vanilla = report["vanilla"].iloc[:, 0].to_numpy() / 0.28
    dpt = {b: column.to_numpy() / 0.28 for (*_, b), column in report["dpt"].items()}
    residual = report["residual"].iloc[:, 0].to_numpy() / 0.28
    found = verdicts(
        {name: (each, {"vanilla": vanilla}) for name, each in {**dpt, "residual": residual}.items()}
    )
    assert not any(each.side for each in found.values())
    effects = [each.least_detectable for each in found.values()]
    assert f"(least detectable effects {min(effects):.0f} to {max(effects):.0f} points)" in PAGE


def test_the_functional_ranks_are_those_of_the_logs(folder):
    runs = [run for run in rp.list_runs(folder) if run.truncation() is not None]
    assert {run.manifest["config"]["method"] for run in runs} == {"vanilla"}
    assert sorted(run.manifest["seed"] for run in runs) == [1, 2, 3]
    for run in runs:
        found, clear = [], []
        for scoring in (None, "rank"):
            tables = run.truncation(scoring)
            (row,) = (row for row in tables["functional_rank"] if row["matrix"] == "P")
            found.append(f"{row['functional_rank']:.0f} ({row['low']:.0f}–{row['high']:.0f})")
            clear.append(f"{row['defined']:.0%}".replace("%", " %"))
        assert f"| {run.manifest['seed']} | {found[0]} | {clear[0]} | {found[1]} |" in PAGE
        (whole,) = (
            row["value"] - row["baseline"]
            for row in run.truncation()["curves"]
            if (row["k"], row["matrix"], row["kept"], row["metric"]) == (20, "P", "top", "accuracy")
        )
        assert 3 <= round(28 * whole / 100) <= 5
        eight = [row for row in run.truncation()["curves"] if row["k"] == 8 and row["matrix"] == "P"]
        assert {row["n_invalid"] for row in eight if row["kept"] == "top"} == {28}


def test_the_search_is_that_of_the_kept_scores():
    titles = {"cb": "CB", "copa": "COPA", "rte": "RTE", "wic": "WiC"}
    scores = pd.read_csv(ROOT / "experiments/real/search.csv")
    groups = scores.groupby(["task", "targets", "template"])
    for (task, targets, template), rows in groups:
        last = rows[rows["step"] == rows["step"].max()]
        best = last.loc[last["accuracy"].idxmax()]
        assert (
            f"| {titles[task]} | {targets} | {template} | {len(last)} | {best['step']} | "
            f"{last['accuracy'].min():.1f}–{last['accuracy'].max():.1f} | {best['learning_rate']:g} | "
            f"{best['baseline']:.1f} | {best['n_examples']} |"
        ) in PAGE
    assert PAGE.count("| plain |") + PAGE.count("| chat |") == len(groups)


def test_held_out_rows_of_wic_share_words_and_sentences_with_those_to_train_on(tmp_path):
    if not SUPERGLUE.is_dir():
        pytest.skip("needs the official rows in ../shared/data")
    split(SUPERGLUE, tmp_path)
    files = {
        "train": tmp_path / "WiC/train.jsonl",
        "held out": tmp_path / "WiC/val.jsonl",
        "dev": SUPERGLUE / "WiC/val.jsonl",
    }
    rows = {
        name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in files.items()
    }
    words = {row["word"] for row in rows["train"]}
    sentences = {row[name] for row in rows["train"] for name in ("sentence1", "sentence2")}
    shares = []
    for name in ("held out", "dev"):
        word = np.mean([row["word"] in words for row in rows[name]])
        sentence = np.mean(
            [not {row["sentence1"], row["sentence2"]}.isdisjoint(sentences) for row in rows[name]]
        )
        shares.append((f"{100 * word:.0f} %", f"{100 * sentence:.0f} %"))
    (word, sentence), (dev_word, dev_sentence) = shares
    assert f"{word} of them have a target word, and {sentence} a sentence" in PAGE
    assert f"of the rows of dev, {dev_word} and {dev_sentence}." in PAGE


def test_the_search_tried_twenty_settings_on_four_tasks():
    scores = pd.read_csv(ROOT / "experiments/real/search.csv").query("step > 0")
    settings = scores.drop_duplicates(["task", "targets", "template", "learning_rate"])
    assert (settings["task"].value_counts() >= 20).sum() == 4
