"""The sections about many runs: findings over all groups, tables of groups and runs, figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankprobe.errors import RankprobeError
from rankprobe.pages.subjects import Subjects, quoted
from rankprobe.pages.tables import PageTable, page_table
from rankprobe.plots import FIGURES, InlineFigure, inline
from rankprobe.plots.curves import SYMBOLS
from rankprobe.rank import Verdict
from rankprobe.reports import TABLES, Table
from rankprobe.runs import (
    Frames,
    Run,
    frames_of,
    read_plans,
    reported,
    reported_baseline,
    scored_data_labels,
    setting_text,
    shared_settings,
)
from rankprobe.runs.selection import frames_for
from rankprobe.twins import twins_of

READING_NAMES = {"n_positive": "the number of positive entries of σ", "P_erank_rv": "the effective rank of P"}

TITLES = {
    "fig1": "Average score over tasks (Figure 1 of the paper)",
    "fig3": "Signs of σ over training (Figure 3)",
    "fig4": "Score over the number of training rows (Figure 4)",
    "fig5": "Score over the bottleneck of DPT (Figure 5)",
    "fig6": "Score over prompt length (Figure 6)",
    "fig7": "Scores of short prompts (Figure 7)",
    "fig8": "DPT with large bottlenecks (Figure 8)",
    "fig9": "Signs of σ and rank of P over training (Figure 9)",
    "truncation": "Score over the number of directions kept",
    "grid": "Positive entries of σ over learning rate and initial σ",
    "controls": "Positive entries of σ with true and with wrong labels",
    "used": "Score over the number of directions kept, by method",
    "length": "Functional rank over prompt length",
    "taskrank": "Score over the rank of the prompt",
}
"""Headings of the figures of experiments."""


@dataclass(frozen=True)
class Overview:
    """The sections about many runs.

    Attributes:
        findings: sentences over all groups.
        groups, runs: a row per group of seeds, and a row per run.
        figures: heading and figure of each experiment.
        tables: Tables 1 to 4 and the functional ranks.
        left_out: name and reason of each figure and table that these runs do not give.
        failures: run, status and reason of each run that did not finish or cannot be read.
        commands: sentence and command for what is missing.
    """

    findings: list[str]
    groups: PageTable
    runs: PageTable
    figures: list[tuple[str, InlineFigure]]
    tables: list[tuple[str, PageTable]]
    left_out: list[tuple[str, str]]
    failures: PageTable | None
    commands: list[tuple[str, str]]


def overview(found: Subjects, results: Sequence[Mapping[str, Verdict]]) -> Overview:
    """The sections about all runs of a report.

    Args:
        found: the runs.
        results: the verdicts of each group, from `pooled_verdicts`.
    """
    frames = frames_of(found.runs)
    rows = frames.runs.assign(
        data_label=scored_data_labels(frames.runs),
        reported_last=reported(frames.runs, "last"),
        reported_best=reported(frames.runs, "best"),
        reported_baseline=reported_baseline(frames.runs),
    )
    figures, tables, left_out = _figures_and_tables(found, frames)
    return Overview(
        findings=list(_findings(found, rows, results)),
        groups=page_table(_group_rows(found, frames, rows, results), "groups", sortable=True),
        runs=page_table(_run_rows(rows), "runs", sortable=True),
        figures=figures,
        tables=tables,
        left_out=left_out,
        failures=_failures(found),
        commands=list(_commands(found)),
    )


def _findings(found: Subjects, rows: pd.DataFrame, results: Sequence[Mapping[str, Verdict]]) -> Iterable[str]:
    """Counts of verdicts over all groups, of runs that learned, and of runs with a functional rank."""
    for name, words in READING_NAMES.items():
        with_null = [each[name] for each in results if each[name].null_means]
        if not with_null:
            continue
        tested = [each for each in with_null if not np.isnan(each.p)]
        sides = [each.side for each in tested]
        counts = (
            f"{sides.count('above')} above all their noise twins, {sides.count('below')} below all of them, "
            f"{sides.count('')} not distinguishable from them"
        )
        untested = len(with_null) - len(tested)
        too_few = f"; {_groups(untested)} too few seeds for a verdict" if untested else ""
        subject = f"{words[0].upper()}{words[1:]}"
        if tested:
            yield (
                f"{subject}: of {len(tested)} group{'s' * (len(tested) > 1)} of seeds, {counts} "
                f"(paired t tests at 1 %, false discovery rate controlled over this report){too_few}."
            )
        else:
            yield f"{subject}: no group has three seeds with noise twins, so there is no verdict."
    scored = rows[rows["reported_last"].notna() & (rows["status"] == "finished")]
    if len(scored):
        learned = int((scored["reported_last"] > scored["reported_baseline"]).sum())
        yield (
            f"{learned} of {len(scored)} finished runs end with a score above the baseline (answers that "
            "ignore the texts)."
        )
    truncated = [run.truncation() for run in found.runs]
    measured = sum(result is not None for result in truncated)
    ranks = pd.to_numeric(rows.get("functional_rank", pd.Series(dtype=float)), errors="coerce").dropna()
    if measured:
        spans = f"; from {ranks.min():.0f} to {ranks.max():.0f}" if len(ranks) else ""
        n_best = int((rows.get("functional_rank_prompt", pd.Series(dtype=str)) == "best").sum())
        of_best = f", of the best prompt on {n_best} of these" if n_best else ""
        yield (
            f"The functional rank (the rank that is used) was measured on {measured} of {len(rows)} runs"
            f"{of_best}, and is defined on {len(ranks)}{spans}."
        )
    else:
        yield "The functional rank (the rank that is used) was measured on no run."


def _groups(count: int) -> str:
    return f"{count} group has" if count == 1 else f"{count} groups have"


def _mean_sd(values: pd.Series) -> str:
    own = pd.to_numeric(values, errors="coerce").dropna()
    if own.empty:
        return "-"
    return f"{own.mean():.1f} ± {own.std(ddof=1):.1f}" if len(own) > 1 else f"{own.iloc[0]:.1f}"


def _group_rows(
    found: Subjects, frames: Frames, rows: pd.DataFrame, results: Sequence[Mapping[str, Verdict]]
) -> Table:
    """A row per group of seeds: settings, scores, readings and the verdict on the positive entries."""
    by_id = rows.set_index("run_id")
    settings = [name for name in shared_settings(frames.settings, "eval_every") if name in rows]
    shown = ("method", "task", "data", "model")
    texts = rows[[name for name in settings if name not in shown]].map(setting_text)
    alike = [rows[name] for name in ("method", "data_label", "model_label")]
    varying = texts.groupby(alike).transform("nunique").to_dict("records")
    differs = dict(zip(rows["run_id"], varying, strict=True))
    lines = []
    for runs, result in zip(found.groups, results, strict=True):
        own = by_id.reindex([run.id for run in runs])
        first = own.iloc[0]
        values = ", ".join(
            f"{SYMBOLS.get(str(name), name)} = {text}"
            for name, n_values in differs[runs[0].id].items()
            if n_values > 1 and (text := setting_text(first[str(name)])) != "unset"
        )
        lines.append(
            {
                "method": first["method"],
                "data": first["data_label"],
                "model": first["model_label"],
                "settings": values or "-",
                "seeds": len(runs),
                "last": _mean_sd(own["reported_last"]),
                "best": _mean_sd(own["reported_best"]),
                "baseline": _mean_sd(own["reported_baseline"].drop_duplicates()),
                "σ > 0": _mean_sd(own.get("n_positive", pd.Series(dtype=float))),
                "σ > 0, twins": _twins(own, "n_positive"),
                "σ > 0, verdict": _verdict(result["n_positive"]),
                "effective rank": _mean_sd(own.get("P_erank_rv", pd.Series(dtype=float))),
                "functional rank": _functional_rank(own),
            }
        )
    caption = (
        "Runs that differ only in their seed, as mean ± sample standard deviation over seeds. Scores in "
        "percent. Settings: those in which runs of the same method, data and model differ. Twins: from the "
        "lowest to the highest mean."
    )
    return Table(caption, pd.DataFrame(lines), [])


def _functional_rank(own: pd.DataFrame) -> str:
    """The functional ranks of a group, and whose they are if not only of final prompts."""
    own = own.reindex(columns=["functional_rank", "functional_rank_prompt"])
    prompts = sorted(own.loc[own["functional_rank"].notna(), "functional_rank_prompt"].dropna().unique())
    note = f" ({' and '.join(prompts)} prompt)" if "best" in prompts else ""
    return _mean_sd(own["functional_rank"]) + note


def _twins(own: pd.DataFrame, reading: str) -> str:
    """The mean of the twins of a group, or the range of the means of several kinds."""
    columns = twins_of(map(str, own.columns), reading)
    means = [float(own[name].mean()) for name in columns.values() if own[name].notna().any()]
    if not means:
        return "-"
    return f"{means[0]:.1f}" if len(means) == 1 else f"{min(means):.1f} to {max(means):.1f}"


def _verdict(result: Verdict) -> str:
    if not result.null_means:
        return "-"
    return "no verdict" if np.isnan(result.p) else result.side or "not distinguishable"


def _run_rows(rows: pd.DataFrame) -> Table:
    """A row per run."""
    names = {
        "run_id": "run",
        "status": "status",
        "method": "method",
        "data_label": "data",
        "model_label": "model",
        "seed": "seed",
        "step": "step",
        "total_steps": "of",
        "reported_last": "last",
        "reported_best": "best",
        "reported_baseline": "baseline",
        "last_invalid": "invalid answers",
        "n_positive": "σ > 0",
        "P_erank_rv": "effective rank",
        "functional_rank": "functional rank",
        "functional_rank_prompt": "of prompt",
    }
    frame = rows.reindex(columns=list(names)).rename(columns=names)
    for name in ("step", "of", "invalid answers", "σ > 0", "functional rank"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("Float64").round().astype("Int64")
    caption = "Every run, with the readings of its last logged step. Scores in percent."
    return Table(caption, frame.dropna(axis=1, how="all"), [])


def _figures_and_tables(
    found: Subjects, frames: Frames
) -> tuple[list[tuple[str, InlineFigure]], list[tuple[str, PageTable]], list[tuple[str, str]]]:
    """The figures and tables of the planned experiments; without a plan, the tables of all runs."""
    left_out: list[tuple[str, str]] = []
    figures, tables = [], []
    for number, folder in enumerate(found.folders):
        end = f"-{number}" if number else ""
        planned = {name for plan in read_plans(folder) for name in plan.draws}
        for name, draw in FIGURES.items():
            if name in planned:
                try:
                    figure = draw(_frames(name, folder), look="page")
                    figures.append((_in(folder, found, TITLES[name]), inline(figure, f"{name}{end}")))
                except RankprobeError as error:
                    left_out.append((TITLES[name], str(error)))
        for name in TABLES:
            if name in planned or not planned:
                _add_table(tables, left_out, name, end, partial(_frames, name, folder))
    if not found.folders:
        for name in TABLES:
            _add_table(tables, left_out, name, "", lambda: frames)
    return figures, tables, left_out


def _frames(name: str, folder: Path) -> Frames:
    return frames_for(name, folder)[0]


def _in(folder: Path, found: Subjects, title: str) -> str:
    return title if len(found.folders) == 1 else f"{title}, {folder}"


def _add_table(
    tables: list[tuple[str, PageTable]], left_out: list[tuple[str, str]], name: str, end: str, load: Any
) -> None:
    title = f"Table {name.removeprefix('table')}" if name.startswith("table") else "Functional ranks"
    try:
        tables.append((title, page_table(TABLES[name](load()), f"{name}{end}-table")))
    except RankprobeError as error:
        left_out.append((title, str(error)))


def _failures(found: Subjects) -> PageTable | None:
    """The runs that did not finish, and those that cannot be read."""
    rows = []
    for run in found.runs:
        status = run.status
        if status in ("failed", "killed", "interrupted"):
            reason = run.manifest.get("error") or f"stopped at step {run.manifest['progress'].get('step')}"
            rows.append({"run": run.id, "status": status, "reason": str(reason)})
    rows += [{"run": path, "status": "damaged", "reason": problem} for path, problem in found.damaged]
    if not rows:
        return None
    caption = "Runs that did not finish or cannot be read."
    return page_table(Table(caption, pd.DataFrame(rows), []), "failures", latex=False)


def _commands(found: Subjects) -> Iterable[tuple[str, str]]:
    for title, count, command in found.missing:
        yield f"{title}: {count} planned run{'s are' if count > 1 else ' is'} missing. Train:", command
    stopped: list[Run] = [run for run in found.runs if run.status in ("failed", "killed", "interrupted")]
    if stopped:
        count = f"{len(stopped)} run{'s' if len(stopped) > 1 else ''}"
        yield f"{count} stopped before the end. Continue:", f"rankprobe resume {quoted(stopped)}"
