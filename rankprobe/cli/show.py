"""What commands print: summaries and tables of runs."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from rankprobe.errors import RankprobeError
from rankprobe.runs import Run, load_runs

READINGS = {
    "n_positive": "positive entries of σ",
    "P_numerical_rank": "numerical rank of P",
    "P_erank_rv": "effective rank of P",
    "P_stable_rank": "stable rank of P",
}


def summary(console: Console, run: Run) -> None:
    """What a run found: each reading beside its null, each score beside the majority's."""
    frames = load_runs(run.path.parent, only=[run.id])
    if frames.runs.empty or frames.steps.empty:
        raise RankprobeError(f"{run.path} has no steps that can be read, so there is nothing to sum up")
    row, first, last = frames.runs.iloc[0], frames.steps.iloc[0], frames.steps.iloc[-1]
    best = f"best {row['best']:.1f} at step {row['best_step']:.0f}, last {row['last']:.1f}"
    start = "initial" if row.get("init") == "saved" else "untrained"
    nulls = f"{start} {row['untrained']:.1f}, majority {row['majority']:.1f}"
    readings = [
        (name, _change(first, last, column), _change(first, last, f"twin_{column}", "noise twin "))
        for column, name in READINGS.items()
        if column in frames.steps
    ]
    lines = [
        ("data", _data(run), ""),
        ("weights", _weights(row), ""),
        *(("note", note, "") for note in run.manifest.get("notes", [])),
        *readings,
        (f"dev {row['metric']}", best, nulls),
        _selection(row),
        ("answers outside labels", f"{row['last_invalid']:.0f} of {row['last_n']:.0f}", ""),
        ("logs", str(run.path), ""),
        ("next", f"rankprobe plot --runs-dir {shlex.quote(str(run.path.parent))}", ""),
    ]
    console.print(f"\n{run.id}  {row['status']} after {row['step']} steps", style="bold", markup=False)
    for label, value, null in lines:
        text = f"  {label:<22} {value:<{29 if null else 0}}  {null}".rstrip()
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _selection(row: pd.Series) -> tuple[str, str, str]:
    """What the choice of the best prompt did to its score."""
    if pd.isna(row.get("report_best")):
        return "", "(best was chosen on the rows it is reported on, last was not)", ""
    held_back = f"at the best step {row['report_best']:.1f}, last {row['report_last']:.1f}"
    return "held-back half of dev", held_back, ""


def _data(run: Run) -> str:
    data = run.manifest["data"]
    note = " (ours, not SuperGLUE)" if data["source"] == "bundled" else f" from {data['source']}"
    cut = f", {data['n_cut']} rows cut beyond their long field" if data.get("n_cut") else ""
    return f"{data['label']}{note}, {data['n_train']} train, {data['n_validation']} dev{cut}"


def _weights(row: pd.Series) -> str:
    warning = ": no reading of a language model" if row["random_weights"] else ""
    return f"{row['model_label']}, {row['dtype']} on {row['device']}{warning}"


def _change(first: pd.Series, last: pd.Series, column: str, prefix: str = "") -> str:
    if column not in last or pd.isna(last[column]):
        return ""
    return f"{prefix}{_number(first[column])} → {_number(last[column])}"


def _number(value: Any) -> str:
    if value is None or pd.isna(value):
        return "-"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def runs_table(runs: pd.DataFrame) -> str:
    """One line per run, with the readings of its last logged step; never wrapped or shortened."""
    if runs.empty:
        return "no runs yet; train one: rankprobe probe"
    rows = [
        {
            "run": run["run_id"],
            "status": run["status"],
            "data": run["data_label"],
            "model": run["model_label"],
            "step": f"{run['step']}/{run['total_steps']}",
            "positive (twin)": _with_twin(run, "n_positive"),
            "erank (twin)": _with_twin(run, "P_erank_rv"),
            **{name: _number(run.get(name)) for name in ("best", "last", "majority")},
        }
        for run in runs.to_dict("records")
    ]
    return pd.DataFrame(rows).to_string(index=False)


def _with_twin(last: Mapping[Any, Any], column: str) -> str:
    if pd.isna(last.get(column)):
        return "-"
    twin = last.get(f"twin_{column}")
    return _number(last[column]) + (f" ({_number(twin)})" if pd.notna(twin) else "")


def saved(console: Console, paths: list[Path]) -> None:
    for path in paths:
        console.print(str(path), highlight=False, markup=False, soft_wrap=True)


def task_sheet(console: Console, name: str, data: str, targets: str, tokenizer: str | None) -> None:
    """A task as it will be trained on: how much there is, how it is spread, how it reads."""
    from rankprobe.backbone.load import load_tokenizer
    from rankprobe.tasks import SPLITS, get_task, load_split, majority_scores

    task = get_task(name)
    pieces = load_tokenizer(tokenizer or "tiny")
    splits = {split: load_split(task, split, data) for split in SPLITS}
    lines: list[tuple[str, str]] = []
    for split, each in splits.items():
        examples = each.examples
        lines.append((split, f"{len(examples):,} examples, {each.origin}"))
        if task.labels:
            counts = Counter(task.labels[example.label] for example in examples)
            lines.append(
                (
                    "",
                    ", ".join(
                        f"{label} {counts[label]:,} ({counts[label] / len(examples):.0%})"
                        for label in task.labels
                    ),
                )
            )
        lengths = np.array([len(ids) for ids in pieces([task.source(e.fields) for e in examples]).input_ids])
        quantiles = np.quantile(lengths, (0, 0.5, 0.95, 1)).round().astype(int).tolist()
        lines.append(("  source tokens", "least {}, median {}, 95 % {}, most {}".format(*quantiles)))
    majority = majority_scores(task, splits["validation"].examples, targets)
    lines.append(
        ("without reading", ", ".join(f"{metric} {value:.1f}" for metric, value in majority.items()))
    )
    lessons = (lesson for example in splits["train"].examples for lesson in task.lessons(example))
    for lesson in islice(lessons, 2):
        lines += [("source", task.source(lesson.fields)), ("target", task.target(lesson, targets))]
    console.print(splits["train"].label, style="bold", markup=False)
    for label, value in lines:
        console.print(f"  {label:<16} {value}".rstrip(), highlight=False, markup=False, soft_wrap=True)
