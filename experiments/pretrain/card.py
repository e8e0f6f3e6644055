"""Fills the tables of the model card from run folders: `python -m experiments.pretrain.card`.

Trains vanilla prompt tuning, DPT, the probe and fine-tuning on every miniature task and the other methods on
CB, three seeds each, as cohorts where possible; writes what has finished. Finished runs are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from rankprobe import RunConfig, load_runs
from rankprobe.bundled import BACKBONES, FOLDER
from rankprobe.prompts import METHODS
from rankprobe.sweeps import MAX_MEMBERS, grid, pack, sweep
from rankprobe.tasks import TASKS

HERE = Path(__file__).parent
CARD = FOLDER / "MODEL_CARD.md"
SEEDS = (1, 2, 3)
COHORT = ("vanilla", "dpt", "probe")
COMPARED = "cb"
"""The task on which every method is trained."""
SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "data": "bundled-500",
    "dtype": "bfloat16",
    "steps": 400,
    "eval_every": 200,
}


def plan() -> list[RunConfig]:
    """Every run of the card."""
    others = [name for name in METHODS if name not in (*COHORT, "finetune")]
    whole = {**SETTINGS, "dtype": "float32", "method": "finetune"}
    return [
        *grid(SETTINGS, {"task": list(TASKS), "method": COHORT, "seed": SEEDS}),
        *grid(SETTINGS, {"task": [COMPARED], "method": others, "seed": SEEDS}),
        *grid(whole, {"task": list(TASKS), "seed": SEEDS}),
    ]


def complete(runs: pd.DataFrame) -> pd.DataFrame:
    """Finished runs of those pairs of task and method that have one for each seed."""
    finished = runs[runs["status"] == "finished"]
    counts = finished.groupby(["task", "method"], observed=True)["seed"].transform("nunique")
    return finished[counts == len(SEEDS)]


def score_table(runs: pd.DataFrame, prefixed: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Per task: what needs no reading, the untrained prompt, the last score of each method, the prefix."""
    rows = []
    for task, part in runs.groupby("task", observed=True):
        metric, majority = part["metric"].iloc[0], part["baseline"].iloc[0]
        by_method = {method: _spread(each["last"]) for method, each in part.groupby("method", observed=True)}
        rows.append(
            {
                "task": task,
                "metric": metric,
                "majority": f"{majority:.1f}",
                "untrained": _spread(part.loc[part["method"] == "dpt", "untrained"]),
                **{method: by_method.get(method, "-") for method in (*COHORT, "finetune")},
                "under its prefix": f"{prefixed[str(task)][metric]:.1f}",
            }
        )
    return pd.DataFrame(rows)


def rank_table(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Per task: the probe's last readings, each beside its noise twin's."""
    probes = runs.loc[runs["method"] == "probe", ["run_id", "task"]]
    last = steps[steps["run_id"].isin(probes["run_id"])].groupby("run_id", observed=True).last()
    rows = []
    for task, part in last.groupby("task", observed=True):
        row: dict[str, str] = {"task": str(task)}
        for column, name in (("n_positive", "positive entries"), ("P_erank_rv", "effective rank of P")):
            row[name] = _spread(part[column])
            row[f"{name}, twin"] = _spread(part[f"twin_{column}"])
        rows.append(row)
    return pd.DataFrame(rows)


def method_table(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Every method on one task: what it trains, its last score, and the rank its P has then."""
    runs = runs[runs["task"] == COMPARED]
    last = steps.groupby("run_id", observed=True).last()
    rows = []
    for method in METHODS:
        part = runs[runs["method"] == method]
        ranks = last.loc[last.index.isin(part["run_id"]), "P_erank_rv"]
        if not part.empty:
            rows.append(
                {
                    "method": method,
                    "n": part["prompt_length"].iloc[0],
                    "trained": f"{part['trainable_parameters'].iloc[0]:,}",
                    part["metric"].iloc[0]: _spread(part["last"]),
                    "effective rank of P": _spread(ranks) if ranks.notna().all() and len(ranks) else "-",
                }
            )
    return pd.DataFrame(rows)


def _spread(values: pd.Series) -> str:
    return f"{values.mean():.1f} ± {values.std():.1f}"


def fill(card: str, name: str, table: pd.DataFrame) -> str:
    """The card with the table between its markers replaced."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, rest = card.split(begin)
    _, tail = rest.split(end)
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"{head}{begin}{text}\n{end}{tail}"


def prefix_table(found: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Per task: the scores of each backbone under prefixes."""
    rows = []
    for name, task in TASKS.items():
        metric = task.metrics[0]
        row: dict[str, str] = {"task": name, "metric": metric}
        for size, each in found.items():
            row["majority"] = f"{each['scores'][name][f'majority_{metric}']:.1f}"
            row[size] = f"{each['scores'][name][metric]:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/card"))
    parser.add_argument("--no-training", action="store_true", help="only read the runs there are")
    given = parser.parse_args()
    if not given.no_training:
        sweep(pack(plan(), max_members=MAX_MEMBERS), runs_dir=given.runs_dir)
    frames = load_runs(given.runs_dir)
    found = {size: json.loads((HERE / f"{size}_scores.json").read_text()) for size in BACKBONES}
    runs = complete(frames.runs)
    tables = {
        "scores": score_table(runs, found["tiny"]["scores"]),
        "readings": rank_table(runs, frames.steps),
        "methods": method_table(runs, frames.steps),
        "prefixes": prefix_table(found),
    }
    card = CARD.read_text()
    for name, table in tables.items():
        print(table.to_string(index=False), end="\n\n")
        card = fill(card, name, table)
    CARD.write_text(card)


if __name__ == "__main__":
    main()
