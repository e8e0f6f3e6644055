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

from rankprobe.cli.lines import print_line
from rankprobe.errors import RankprobeError
from rankprobe.runs import HALF, Frames, Run, is_half, load_runs, reported, reported_majority, scored_rows
from rankprobe.text import plain_lines

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
    readings = [
        (name, _change(first, last, column), _twin_change(first, last, column, row.get("twin_lost")))
        for column, name in READINGS.items()
        if column in frames.steps
    ]
    lines = [
        ("data", _data(run), ""),
        ("weights", _weights(row), ""),
        *(("note", note, "") for note in run.manifest.get("notes", [])),
        *readings,
        *_scores(frames, row),
        ("logs", str(run.path), ""),
        ("next", f"rankprobe plot --runs-dir {shlex.quote(str(run.path.parent))}", ""),
    ]
    console.print()
    print_line(console, f"{run.id}  {row['status']} after {row['step']} steps", style="bold")
    for label, value, null in lines:
        print_line(console, f"  {label:<22} {value:<{29 if null else 0}}  {null}".rstrip())


def _scores(frames: Frames, row: pd.Series) -> list[tuple[str, str, str]]:
    """The scores to report beside the majority's, and what the choice of the best prompt did to them."""
    start = "initial" if row.get("init") == "saved" else "untrained"
    chosen = f"best {row['best']:.1f} at step {row['best_step']:.0f}, last {row['last']:.1f}"
    nulls = f"{start} {row['untrained']:.1f}, majority {row['majority']:.1f}"
    outside = "answers outside labels"
    if not is_half(frames.runs).iloc[0]:
        return [
            (f"dev {row['metric']}", chosen, nulls),
            ("", "(best was chosen on the rows it is reported on, last was not)", ""),
            (outside, f"{row['last_invalid']:.0f} of {row['last_n']:.0f}", ""),
        ]
    best, last = (_score(reported(frames.runs, score).iloc[0]) for score in ("best", "last"))
    majority = _score(reported_majority(frames.runs).iloc[0])
    lines = [
        (HALF, f"at the best step {best}, last {last}", f"{row['metric']}, majority {majority}"),
        ("the half that chooses", chosen, nulls),
    ]
    evals = frames.evals
    own = evals[(evals["split"] == "report") & (evals["metric"] == row["metric"])] if len(evals) else evals
    if len(own):
        end = own[own["step"] == own["step"].max()].iloc[0]
        lines.append((outside, f"{end['n_invalid']:.0f} of {end['n_examples']:.0f}", ""))
    return lines


def _score(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.1f}"


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


def _twin_change(first: pd.Series, last: pd.Series, column: str, lost: Any) -> str:
    """The same of the noise twin, or the step at which it diverged."""
    if f"twin_{column}" in last and not pd.isna(lost):
        return f"noise twin diverged at step {lost:.0f}"
    return _change(first, last, f"twin_{column}", "noise twin ")


def _number(value: Any) -> str:
    if value is None or pd.isna(value):
        return "-"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def runs_table(runs: pd.DataFrame) -> str:
    """One line per run, with the readings of its last logged step; never wrapped or shortened.

    Scores are those to report, and `data` says where they are of the held-back half of dev.
    """
    if runs.empty:
        return "no runs yet; train one: rankprobe probe"
    scores = {name: reported(runs, name) for name in ("best", "last")}
    runs = runs.assign(data_label=scored_rows(runs), majority=reported_majority(runs), **scores)
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
    return plain_lines(pd.DataFrame(rows).to_string(index=False))


def _with_twin(last: Mapping[Any, Any], column: str) -> str:
    if pd.isna(last.get(column)):
        return "-"
    twin = last.get(f"twin_{column}")
    if pd.notna(last.get("twin_lost")):
        return f"{_number(last[column])} (diverged)"
    return _number(last[column]) + (f" ({_number(twin)})" if pd.notna(twin) else "")


def saved(console: Console, paths: list[Path]) -> None:
    for path in paths:
        print_line(console, path)


def task_sheet(console: Console, name: str, data: str, targets: str, tokenizer: str | None) -> None:
    """A task as it will be trained on: how much there is, how it is spread, how it reads."""
    from rankprobe.backbone.base import loses_characters, unknown_id
    from rankprobe.backbone.load import load_tokenizer
    from rankprobe.tasks import SPLITS, get_task, load_split, majority_scores

    task = get_task(name)
    task.check_targets(targets)
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
        texts = [task.source(e.fields) for e in examples]
        ids = pieces(texts).input_ids
        lengths = np.array([len(each) for each in ids])
        quantiles = np.quantile(lengths, (0, 0.5, 0.95, 1)).round().astype(int).tolist()
        lines.append(("  source tokens", "least {}, median {}, 95 % {}, most {}".format(*quantiles)))
        cut = zip(ids, loses_characters(pieces, texts), strict=True)
        if unknown := sum(lost or unknown_id(pieces) in each for each, lost in cut):
            share = f"{unknown:,} rows ({unknown / len(examples):.0%})"
            lines.append(("", f"{share} with text that the tokenizer cannot represent"))
    lines += [("note", note) for note in task.targets_note(targets)]
    majority = majority_scores(task, splits["validation"].examples, targets)
    lines.append(
        ("without reading", ", ".join(f"{metric} {value:.1f}" for metric, value in majority.items()))
    )
    lessons = (lesson for example in splits["train"].examples for lesson in task.lessons(example))
    for lesson in islice(lessons, 2):
        lines += [("source", task.source(lesson.fields)), ("target", task.target(lesson, targets))]
    print_line(console, splits["train"].label, style="bold")
    for label, value in lines:
        print_line(console, f"  {label:<16} {value}".rstrip())
