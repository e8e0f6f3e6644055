"""Print summaries and tables of runs, and the summary of a task."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from rankprobe.cli.lines import number, number_range, print_line
from rankprobe.errors import RankprobeError
from rankprobe.runs import (
    HALF,
    Frames,
    Run,
    is_half,
    load_runs,
    reported,
    reported_baseline,
    scored_data_labels,
)
from rankprobe.text import plain_lines
from rankprobe.twins import TWINS, twin_prefix, twins_of

if TYPE_CHECKING:
    from rankprobe.data.description import TaskDescription

READINGS = {
    "n_positive": "positive entries of σ",
    "P_numerical_rank": "numerical rank of P",
    "P_erank_rv": "effective rank of P",
    "P_stable_rank": "stable rank of P",
}


def summary(console: Console, run: Run) -> None:
    """Print the results of a run: each reading next to its null, each score next to its baseline.

    Raises:
        RankprobeError: the run has no steps that can be read.
    """
    frames = load_runs(run.path.parent, only=[run.id])
    if frames.runs.empty or frames.steps.empty:
        raise RankprobeError(f"{run.path} has no steps that can be read; train it again")
    row, first, last = frames.runs.iloc[0], frames.steps.iloc[0], frames.steps.iloc[-1]
    readings = [
        (label, _change(first, last, column), _twin_change(first, last, column, row))
        for column, label in READINGS.items()
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
    """Return (label, scores, baselines) lines, which name the rows that the best prompt was selected on."""
    start = "initial" if row.get("init") == "saved" else "untrained"
    selected = f"best {row['best']:.1f} at step {row['best_step']:.0f}, last {row['last']:.1f}"
    nulls = f"{start} {row['untrained']:.1f}, baseline {row['baseline']:.1f}"
    if not is_half(frames.runs).iloc[0]:
        return [
            (f"dev {row['metric']}", selected, nulls),
            ("", "(best was selected on these rows, so it is biased upwards; last was not)", ""),
            ("invalid answers", f"{row['last_invalid']:.0f} of {row['last_n']:.0f}", ""),
        ]
    best, last = (_score(reported(frames.runs, score).iloc[0]) for score in ("best", "last"))
    baseline = _score(reported_baseline(frames.runs).iloc[0])
    lines = [
        (HALF, f"at the best step {best}, last {last}", f"{row['metric']}, baseline {baseline}"),
        ("selection half of dev", selected, nulls),
    ]
    evals = frames.evals
    report = evals[(evals["split"] == "report") & (evals["metric"] == row["metric"])] if len(evals) else evals
    if len(report):
        end = report[report["step"] == report["step"].max()].iloc[0]
        lines.append(("invalid answers", f"{end['n_invalid']:.0f} of {end['n_examples']:.0f}", ""))
    return lines


def _score(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.1f}"


def _data(run: Run) -> str:
    data = run.manifest["data"]
    note = " (ours, not SuperGLUE)" if data["source"] == "bundled" else f" from {data['source']}"
    truncated = f", {data['n_cut']} rows truncated beyond their long field" if data.get("n_cut") else ""
    return f"{data['label']}{note}, {data['n_train']} train, {data['n_validation']} dev{truncated}"


def _weights(row: pd.Series) -> str:
    warning = ": random weights, so not a result about a language model" if row["random_weights"] else ""
    return f"{row['model_label']}, {row['dtype']} on {row['device']}{warning}"


def _change(first: pd.Series, last: pd.Series, column: str) -> str:
    if column not in last or pd.isna(last[column]):
        return ""
    return f"{number(first[column])} → {number(last[column])}"


def _twin_change(first: pd.Series, last: pd.Series, column: str, row: pd.Series) -> str:
    """Return the change of a noise twin's column, or of the range of several; and which twins diverged."""
    columns = twins_of(map(str, last.index), column)
    lost = {kind: row[f"{twin_prefix(kind)}lost"] for kind in columns if f"{twin_prefix(kind)}lost" in row}
    lost = {kind: step for kind, step in lost.items() if not pd.isna(step)}
    present = [name for kind, name in columns.items() if kind not in lost and not pd.isna(last[name])]
    name = "noise twins" if len(columns) > 1 else "noise twin"
    parts = [f"{name} {number_range(first[present])} → {number_range(last[present])}"] if present else []
    parts += [
        f"{TWINS[kind] if len(columns) > 1 else name} diverged at step {step:.0f}"
        for kind, step in lost.items()
    ]
    return ", ".join(parts)


def runs_table(runs: pd.DataFrame) -> str:
    """Return one line per run, with the readings of its last logged step; lines are not wrapped or shortened.

    Scores are the scores to report. If they are from the held-back half of dev, the column `data` says so.
    """
    if runs.empty:
        return "no runs yet; train one with: rankprobe probe"
    scores = {name: reported(runs, name) for name in ("best", "last")}
    runs = runs.assign(data_label=scored_data_labels(runs), baseline=reported_baseline(runs), **scores)
    rows = [
        {
            "run": run["run_id"],
            "status": run["status"],
            "data": run["data_label"],
            "model": run["model_label"],
            "step": f"{run['step']}/{run['total_steps']}",
            "positive (twin)": _with_twins(run, "n_positive"),
            "erank (twin)": _with_twins(run, "P_erank_rv"),
            **{name: number(run.get(name)) for name in ("best", "last", "baseline")},
        }
        for run in runs.to_dict("records")
    ]
    return plain_lines(pd.DataFrame(rows).to_string(index=False))


def runs_document(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the frame `runs`, each with its scores to report, their rows and their baseline."""
    if not rows:
        return []
    runs = pd.DataFrame(rows)
    scores = {
        "data": scored_data_labels(runs),
        "best": reported(runs, "best"),
        "last": reported(runs, "last"),
        "baseline": reported_baseline(runs),
    }
    return [
        row | {"reported": report}
        for row, report in zip(rows, pd.DataFrame(scores).to_dict("records"), strict=True)
    ]


def _with_twins(last: Mapping[Any, Any], column: str) -> str:
    """Return a reading with that of its noise twin, or the range of several, in parentheses."""
    if pd.isna(last.get(column)):
        return "-"
    present, lost = [], 0
    for kind, name in twins_of(map(str, last), column).items():
        if pd.notna(last.get(f"{twin_prefix(kind)}lost")):
            lost += 1
        elif pd.notna(last[name]):
            present.append(last[name])
    twins = [*present, *[None] * lost]
    return number(last[column]) + (f" ({number_range(twins)})" if twins else "")


def task_summary(console: Console, task: TaskDescription) -> None:
    """Print a task as a run would use it: counts, label balance, text lengths, baseline and two examples."""
    lines: list[tuple[str, str]] = []
    for split in task.splits:
        n = split.n_examples
        lines.append((split.split, f"{n:,} examples, {split.origin}"))
        if split.labels:
            balance = (f"{label} {count:,} ({count / n:.0%})" for label, count in split.labels.items())
            lines.append(("", ", ".join(balance)))
        lengths = "min {min}, median {median}, 95th percentile {p95}, max {max}"
        lines.append(("  source tokens", lengths.format(**split.source_tokens)))
        if unknown := split.n_unrepresentable:
            share = f"{unknown:,} rows ({unknown / n:.0%})"
            lines.append(("", f"{share} with text that the tokenizer cannot represent"))
    if task.answers:
        counts = ((text, len(tokens)) for text, tokens in task.answers.items())
        texts = (f"{text} ({n} token{'s' if n > 1 else ''})" for text, n in counts)
        lines.append(("label texts", ", ".join(texts)))
    lines += [("note", note) for note in task.notes]
    scores = ", ".join(f"{metric} {value:.1f}" for metric, value in task.baselines.items())
    lines.append(("baseline", f"{scores} (validation, without reading the texts)"))
    for example in task.examples:
        lines += list(example.items())
    print_line(console, task.label, style="bold")
    for label, value in lines:
        print_line(console, f"  {label:<16} {value}".rstrip())
