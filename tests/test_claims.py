"""Comparative sentences of figures/README.md follow from `rank.verdicts` on the kept logs."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

import rankprobe as rp
from rankprobe.rank import verdict, verdicts

FIGURES = Path(__file__).parent.parent / "figures"
PAGE = " ".join((FIGURES / "README.md").read_text().split())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A function from the name of a picture to the rows of its runs, in the order of seeds; of all without."""
    folder = tmp_path_factory.mktemp("kept")
    names = ("fig1", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "fig9", "controls", "length")
    ids = {
        name: [run["run_id"] for run in json.loads((FIGURES / f"gallery/{name}.json").read_text())["runs"]]
        for name in names
    }
    with tarfile.open(FIGURES / "gallery.tar.xz") as kept:
        kept.extractall(folder, filter="data")
    runs = rp.load_runs(folder / "gallery").runs.sort_values("seed")
    return lambda name=None: runs if name is None else runs[runs["run_id"].isin(ids[name])]


def against_twins(runs, readings):
    return verdicts({name: (runs[name], {"gaussian": runs[f"gaussian_{name}"]}) for name in readings})


def span(values):
    return f"{min(values):.0f} to {max(values):.0f}"


def test_figure_3(drawn):
    runs = drawn("fig3")
    found = against_twins(runs, ["n_positive"])["n_positive"]
    assert not found.side
    assert (
        f"It falls here too, to {found.mean:.0f} of 100 on average ({span(runs['n_positive'])} over "
        f"{len(runs)} seeds). Prompts that saw only Gaussian noise of the same size keep "
        f"{found.null_means['gaussian']:.0f}. The difference is not distinguishable (p = {found.p:.2f}, "
        f"{len(runs)} pairs; least detectable effect {found.least_detectable:.0f} entries)."
    ) in PAGE


def test_figure_9(drawn):
    panels = dict(list(drawn("fig9").groupby(["model_label", "data_label"])))
    readings = {
        (*panel, name): (runs[name], {"gaussian": runs[f"gaussian_{name}"]})
        for panel, runs in panels.items()
        for name in ("n_positive", "P_numerical_rank", "P_erank_rv")
    }
    found = verdicts(readings)
    assert not any(each.side for each in found.values())
    counts = [each for (*_, name), each in found.items() if name != "P_erank_rv"]
    assert max(abs(each.differences["gaussian"].mean) for each in counts) <= 6
    eranks = [each for (*_, name), each in found.items() if name == "P_erank_rv"]
    twins = [each.null_means["gaussian"] for each in eranks]
    assert (
        "Counts and numerical ranks end within six of those of their Gaussian twins. The effective rank ends at "
        f"{span([each.mean for each in eranks])}, that of the twins at {span(twins)}. None of the {len(found)} "
        "differences is distinguishable with three seeds a panel."
    ) in PAGE


def test_controls(drawn):
    shuffled, twins, gaps = {}, {}, 0
    means = {"none": [], "shuffle-labels": []}
    for task, part in drawn("controls").groupby("data_label"):
        true, wrong = (part[part["control"] == control] for control in means)
        assert true["seed"].tolist() == wrong["seed"].tolist()
        shuffled[task] = (true["n_positive"].to_numpy(), {"shuffled": wrong["n_positive"].to_numpy()})
        twins[task] = (true["n_positive"], {"gaussian": true["gaussian_n_positive"]})
        gaps += true["gaussian_n_positive"].mean() < wrong["gaussian_n_positive"].mean()
        for control, runs in (("none", true), ("shuffle-labels", wrong)):
            means[control].append(runs["n_positive"].mean())
    assert np.all(np.less(means["none"], means["shuffle-labels"]))
    found = [*verdicts(shuffled).values(), *verdicts(twins).values()]
    assert not any(each.side for each in found)
    assert (
        f"On each of the {len(shuffled)} tasks the mean is lower with true labels ({span(means['none'])}) than with "
        f"shuffled ones ({span(means['shuffle-labels'])}), but on none is the difference distinguishable with three "
        f"seeds, and on none does the count with true labels differ from that of its own Gaussian twin. The twins "
        f"themselves show a gap of the same sign on {gaps} tasks"
    ) in PAGE


def test_table_1(drawn):
    scores = drawn("fig1").pivot_table(index=["task", "seed"], columns="method", values="last")
    scores = scores.dropna(subset=["dpt", "vanilla", "residual"])
    found = {other: verdict(scores["dpt"], {other: scores[other]}) for other in ("vanilla", "residual")}
    assert not any(each.side for each in found.values())
    assert (
        f"Here the means are {found['vanilla'].mean:.1f} (DPT), {scores['vanilla'].mean():.1f} (vanilla) and "
        f"{scores['residual'].mean():.1f} (residual), and **no order is supported**: paired by task and seed, DPT "
        f"against vanilla has p = {found['vanilla'].p:.2f} and against residual p = {found['residual'].p:.2f} "
        f"({len(scores)} pairs each)"
    ) in PAGE


def test_prompt_length(drawn):
    ranks = drawn("length").groupby("prompt_length")["functional_rank"]
    told = ", ".join(
        f"{span(values) if values.nunique() > 1 else format(values.iloc[0], '.0f')} with {n}"
        for n, values in ranks
    )
    assert f"The functional rank is {told} tokens" in PAGE


def scores(runs, column):
    """Last scores: a row per task and seed, a column per method and value of `column`."""
    return runs.pivot_table(index=["task", "seed"], columns=["method", column], values="last")


def told(means):
    return ", ".join(f"{mean:.0f}" for mean in means)


def test_table_4(drawn):
    residual = (
        drawn().query("method == 'residual' and prompt_length == 10").set_index(["task", "seed"])["last"]
    )
    of_table_1 = drawn("fig1").query("method == 'residual'").set_index(["task", "seed"])["last"]
    ten, hundred = residual.align(of_table_1, join="inner")
    found = verdict(ten, {"100": hundred})
    assert not found.side
    assert (
        f"Here the means are {found.mean:.1f} and {hundred.mean():.1f}, not distinguishable (p = {found.p:.2f}, "
        f"{len(ten)} pairs of task and seed)"
    ) in PAGE


def test_figure_4(drawn):
    table = scores(drawn("fig4"), "shots")
    found = verdicts(
        {
            (k, other): (table["dpt"][k], {other: table[other][k]})
            for k in (8, 16, 32)
            for other in ("residual", "vanilla")
        }
    )
    assert not any(each.side for each in found.values())
    dpt, residual, vanilla = (told(table[name].mean()) for name in ("dpt", "residual", "vanilla"))
    assert (
        f"Here the means are {dpt} (DPT), {residual} (residual) and {vanilla} (vanilla). None of the {len(found)} "
        f"differences between DPT and another method is distinguishable ({len(table)} pairs of task and seed each)."
    ) in PAGE


def test_figure_5(drawn):
    runs = drawn("fig5")
    dpt = scores(runs[runs["method"] == "dpt"], "bottleneck")["dpt"]
    others = runs[runs["method"] != "dpt"].pivot_table(
        index=["task", "seed"], columns="method", values="last"
    )
    falls = verdicts({b: (dpt[1], {"1": dpt[b]}) for b in dpt if b > 1})
    assert not any(each.side for each in falls.values())
    assert (
        f"Here the means over the four tasks are {told(dpt.mean())} with b = {told(dpt)}. None of the {len(falls)} "
        f"differences to b = 1 is distinguishable ({len(dpt)} pairs of task and seed each; least adjusted p = "
        f"{min(each.p_adjusted for each in falls.values()):.2f})."
    ) in PAGE
    tasks = dpt.index.unique("task")
    found = verdicts(
        {
            (task, b, name): (dpt.loc[task][b], {name: others.loc[task][name]})
            for task in tasks
            for b in dpt
            for name in others
        }
    )
    ((where, shown),) = [(key, each) for key, each in found.items() if each.side]
    assert (*where, shown.side) == ("cb", 1, "vanilla", "below")
    assert (
        f"Of the {len(found)} differences between DPT and a baseline on one task, one is distinguishable with three "
        f"seeds: on CB, DPT with b = 1 is below vanilla prompts ({shown.mean:.0f} against "
        f"{shown.null_means['vanilla']:.0f})."
    ) in PAGE


def test_figure_6(drawn):
    table = scores(drawn("fig6"), "prompt_length")
    dpt, vanilla = table["dpt"], table["vanilla"]
    together = {n: (dpt[n], {"vanilla": vanilla[n]}) for n in dpt}
    tasks = table.index.unique("task")
    apart = {(task, n): (dpt.loc[task][n], {"vanilla": vanilla.loc[task][n]}) for task in tasks for n in dpt}
    changes = [each.max(axis=1) - each.min(axis=1) for each in (dpt, vanilla)]
    change = verdict(changes[0], {"vanilla": changes[1]})
    assert not any(each.side for each in [*verdicts(together).values(), *verdicts(apart).values(), change])
    assert (
        f"Here the means over the four tasks are {told(dpt.mean())} (DPT) and {told(vanilla.mean())} (vanilla); none of "
        f"the {len(together)} differences is distinguishable ({len(table)} pairs of task and seed each), and none of the "
        f"{len(apart)} on one task (3 pairs each). Over the three lengths, a score of DPT changes by {change.mean:.0f} "
        f"points and one of vanilla prompts by {change.null_means['vanilla']:.0f} on average, which is not "
        f"distinguishable either (p = {change.p:.2f}, {len(table)} pairs)."
    ) in PAGE


def test_figure_7(drawn):
    table = scores(drawn("fig7"), "prompt_length")
    found = verdicts(
        {
            (task, n, name): (table.loc[task]["dpt"][n], {name: table.loc[task][name][n]})
            for task in ("wic", "cb")
            for n in (6, 10)
            for name in ("vanilla", "residual")
        }
    )
    assert not any(each.side for each in found.values())

    def means(task, name):
        return " and ".join(f"{mean:.0f}" for mean in table.loc[task][name].mean())

    others = {
        task: f"(vanilla {means(task, 'vanilla')}, residual {means(task, 'residual')})"
        for task in ("wic", "cb")
    }
    assert (
        f"Here its means with 6 and 10 tokens are {means('wic', 'dpt')} on WiC {others['wic']}, and {means('cb', 'dpt')} "
        f"on CB {others['cb']}. None of the {len(found)} differences is distinguishable with three seeds."
    ) in PAGE


def test_figure_8(drawn):
    dpt = scores(drawn("fig8"), "bottleneck")["dpt"]
    found = verdicts({b: (dpt[10], {"more": dpt[b]}) for b in (1000, 10000)})
    assert not any(each.side for each in found.values())
    ranges = [span(dpt[b]) for b in dpt]
    assert (
        f"Here the means are {told(dpt.mean())} with b = 10, 1,000 and 10,000, and neither difference to b = 10 is "
        f"distinguishable with three seeds. The scores range over {ranges[0]}, {ranges[1]} and {ranges[2]}; three seeds "
        "do not compare spreads."
    ) in PAGE
