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
    """A function from the name of a picture to the rows of its runs, in the order of seeds."""
    folder = tmp_path_factory.mktemp("kept")
    names = ("fig1", "fig3", "fig9", "controls", "length")
    ids = {
        name: [run["run_id"] for run in json.loads((FIGURES / f"gallery/{name}.json").read_text())["runs"]]
        for name in names
    }
    wanted = {run_id for each in ids.values() for run_id in each}
    with tarfile.open(FIGURES / "gallery.tar.xz") as kept:
        parts = [member for member in kept.getmembers() if wanted & {*Path(member.name).parts}]
        kept.extractall(folder, parts, filter="data")
    runs = rp.load_runs(folder / "gallery").runs.sort_values("seed")
    return lambda name: runs[runs["run_id"].isin(ids[name])]


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
