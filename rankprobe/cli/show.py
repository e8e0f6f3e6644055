"""What commands print: summaries and tables of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from rankprobe.runs import Frames, Run, load_runs


def summary(console: Console, run: Run) -> None:
    """What a finished run found: each reading beside its null, each score beside the majority's."""
    frames = load_runs(run.path.parent, only=[run.id])
    row, first, last = frames.runs.iloc[0], frames.steps.iloc[0], frames.steps.iloc[-1]
    console.print(f"\n[bold]{run.id}[/bold]  {row['status']} after {row['step']} steps")
    facts = Table.grid(padding=(0, 3))
    facts.add_row("data", _data(run))
    facts.add_row("weights", _weights(row))
    for label, column in (
        ("positive entries of σ", "n_positive"),
        ("numerical rank of P", "P_numerical_rank"),
        ("effective rank of P", "P_erank_rv"),
        ("stable rank of P", "P_stable_rank"),
    ):
        if column in frames.steps:
            facts.add_row(
                label,
                _change(first, last, column),
                _change(first, last, f"twin_{column}", "noise twin "),
            )
    name = row["metric"]
    scores = f"best {row['best']:.1f} at step {row['best_step']:.0f}, last {row['last']:.1f}"
    facts.add_row(f"dev {name}", scores, f"untrained {row['untrained']:.1f}, majority {row['majority']:.1f}")
    facts.add_row("logs", str(run.path))
    facts.add_row("next", f"rankprobe plot --runs-dir {run.path.parent}")
    console.print(facts, highlight=False)
    console.print("best was chosen on the rows it is reported on; last was not", style="dim")


def _data(run: Run) -> str:
    data = run.manifest["data"]
    note = " (ours, not SuperGLUE)" if data["source"] == "bundled" else f" from {data['source']}"
    return f"{data['label']}{note}, {data['n_train']} train, {data['n_validation']} dev"


def _weights(row: pd.Series) -> str:
    warning = ": readings say nothing about a trained model" if row["random_weights"] else ""
    return f"{row['model_label']}{warning}"


def _change(first: pd.Series, last: pd.Series, column: str, prefix: str = "") -> str:
    if column not in last or pd.isna(last[column]):
        return ""
    return f"{prefix}{_number(first[column])} → {_number(last[column])}"


def _number(value: Any) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def runs_table(frames: Frames) -> Table:
    """One line per run, with the readings of its last logged step."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "status", "data", "model"):
        table.add_column(name, overflow="fold")
    for name in ("step", "positive (twin)", "erank (twin)", "best", "last", "majority"):
        table.add_column(name, justify="right")
    latest = (
        {}
        if frames.steps.empty
        else {str(run_id): part.iloc[-1] for run_id, part in frames.steps.groupby("run_id", observed=True)}
    )
    for _, run in frames.runs.iterrows():
        last = latest.get(run["run_id"], pd.Series(dtype=object))
        table.add_row(
            run["run_id"],
            run["status"],
            run["data_label"],
            run["model_label"],
            f"{last.get('step', 0)}/{run['total_steps']}",
            _with_twin(last, "n_positive"),
            _with_twin(last, "P_erank_rv"),
            *(_number(run[name]) if pd.notna(run.get(name)) else "" for name in ("best", "last", "majority")),
        )
    return table


def _with_twin(last: pd.Series, column: str) -> str:
    if pd.isna(last.get(column)):
        return ""
    twin = last.get(f"twin_{column}")
    return _number(last[column]) + (f" ({_number(twin)})" if pd.notna(twin) else "")


def saved(console: Console, paths: list[Path]) -> None:
    for path in paths:
        console.print(str(path), highlight=False, soft_wrap=True)
