"""The numbers of docs/atlas.md are those of the committed tables, and its comparisons follow from the tests there."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from rankprobe.rank.verdict import LEVEL

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "atlas.md").read_text()
TEXT = " ".join(PAGE.split())
DRAWN = json.loads((ROOT / "figures" / "atlas.json").read_text())
PROMPTS = pd.read_csv(ROOT / "figures" / "atlas.csv", keep_default_na=False)
ALL = json.loads((ROOT / "experiments" / "atlas" / "compared.json").read_text())
WAYS = ("P", "P - mean", "odd | even")
SHOWN = (
    "t5-small",
    "t5-base",
    "bert-base",
    "roberta-base",
    "roberta-large",
    "roberta-large, second training",
)


def by_way(directions, model):
    return {row["compared"]: row for row in directions if row["model"] == model}


def span(values):
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"


def test_the_readings_of_each_model():
    assert f"*{len(PROMPTS)} of these prompts:" in TEXT
    assert (PROMPTS["copy_of"] == "").all()
    assert (PROMPTS["n"] == 100).all()
    for model, part in PROMPTS.groupby("model"):
        effective = f"{span(part['P_erank_rv'])} ({span(part['P_erank_rv_signflip'])})"
        beyond = span(part["P_rows_signflip_edge"])
        row = f"| {model} | {len(part)} | {span(part['P_numerical_rank'])} | {effective} | {beyond} |"
        assert row in PAGE


def test_the_overlaps_of_the_two_models():
    assert {row["model"] for row in DRAWN["directions"]} == {"t5-small", "t5-base"}
    for row in DRAWN["directions"]:
        cells = [row[f"phi_{name}"] for name in ("related", "other", "shuffled", "random")]
        way = row["compared"].replace("|", r"\|")
        numbers = " | ".join(f"{value:.3f}" for value in cells)
        assert f"| {row['model']} | {way} | {numbers} | {row['p_related']:.4f} |" in PAGE
        assert row["p_related_adjusted"] <= LEVEL  # "share more of their first directions … in both models"
        assert row["p_shuffled"] == 0.01
        assert (row["prompts"], row["related_pairs"], row["other_pairs"]) == (17, 22, 114)
    same = {row["model"]: f"{row['nearest_same']:.0%}".replace("%", " %") for row in DRAWN["positions"]}
    assert f"position for {same['t5-base']} of tokens in T5-Base and {same['t5-small']} in T5-Small" in TEXT


def test_all_prompts():
    assert f"finds {ALL['prompts']} prompts, and {ALL['distinct']} of them are distinct" in TEXT
    assert f"for the {len(ALL['directions'])} comparisons of this call" in TEXT
    nearest = {row["model"]: row["nearest_same"] for row in ALL["positions"]}
    distinguished = {}
    for model in SHOWN:
        rows = by_way(ALL["directions"], model)
        cells = [
            f"{row['phi_related']:.3f} / {row['phi_other']:.3f} ({row['p_related_adjusted']:.4f})"
            for row in (rows[way] for way in WAYS)
        ]
        first = rows["P"]
        pairs = f"{first['related_pairs']} / {first['other_pairs']}"
        line = f"| {model} | {first['prompts']} | {pairs} | {' | '.join(cells)} | {nearest[model]:.0%} |"
        assert line in PAGE
        distinguished[model] = [rows[way]["p_related_adjusted"] <= LEVEL for way in WAYS]
    assert all(all(distinguished[model]) for model in SHOWN[:4])
    assert distinguished["roberta-large"] == [True, False, False]
    assert not any(distinguished["roberta-large, second training"])
    others = {row["model"]: row for row in ALL["directions"] if row["model"] not in SHOWN}
    assert sorted(row["prompts"] for row in others.values()) == [7, 9]
    assert all(row["p_related_adjusted"] > LEVEL for row in ALL["directions"] if row["model"] in others)


def test_the_first_directions_of_both_calls_are_the_same():
    for model in ("t5-small", "t5-base"):
        ours, theirs = by_way(DRAWN["directions"], model), by_way(ALL["directions"], model)
        for way in WAYS:
            for name in ("phi", "phi_related", "phi_other", "p_related"):
                assert abs(ours[way][name] - theirs[way][name]) < 1e-12
