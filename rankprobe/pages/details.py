"""The sections about one group of seeds: findings, readings, figures, ranks used, scores, words, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rankprobe.config.folders import config_of
from rankprobe.config.run import RunConfig
from rankprobe.errors import RankprobeError
from rankprobe.evaluation import neighbors
from rankprobe.pages.subjects import quoted
from rankprobe.pages.tables import PageTable, page_table
from rankprobe.plots import InlineFigure, fig3, inline, ranks, scores, spectra_over_steps, truncation
from rankprobe.rank import Verdict, signflip_edge
from rankprobe.reports import (
    CAVEAT,
    Table,
    analyze,
    calibrated_method,
    calibration_text,
    compared,
    differences,
    findings,
)
from rankprobe.runs import PROMPT, Run, frames_of, setting_text
from rankprobe.runs.replication import read_replication
from rankprobe.runs.task_rank import read_task_rank
from rankprobe.studies.grid import known_ranges, least_agreement

WORDS = 5
"""Nearest words per prompt token."""

FIGURES: dict[str, tuple[str, Callable[..., Figure]]] = {
    "signs": ("Signs of σ over training, with the noise twins", fig3),
    "ranks": ("Rank of P over training, with the noise twins", ranks),
    "spectra": ("Singular values of P and ΔP at some steps", spectra_over_steps),
    "truncation": ("Dev score over the number of singular directions kept", truncation),
    "scores": ("Dev score over training, with the baseline and invalid answers", scores),
}
"""Heading of each figure, and the function that draws it. A figure without data is left out."""

NEXT = {
    "truncation": "The rank that the final prompt uses is not measured yet. Measure it:",
    "training": "Training stopped before its end. Continue it:",
    "words": "The words nearest to the prompt need the model. List them:",
}
"""What is not measured, by name; the command follows."""


@dataclass
class Detail:
    """The sections about one group of seeds.

    Attributes:
        id: start of the ids in this part.
        title: method, data, model and seeds.
        findings: sentences.
        figures: heading and figure, by name.
        tables: those with data of `readings`, `differences`, `measures`, `scores`, `words`, `settings`.
        ranks: heading and table of the ranks in `RANKS` that were measured.
        commands: sentence and command for what is not measured.
        paths: the run folders.
    """

    id: str
    title: str
    findings: list[str]
    figures: dict[str, tuple[str, InlineFigure]] = field(default_factory=dict)
    tables: dict[str, PageTable] = field(default_factory=dict)
    ranks: list[tuple[str, PageTable]] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def detail(
    runs: Sequence[Run], results: Mapping[str, Verdict], id: str, *, words: bool, caveats: bool
) -> Detail:
    """Everything about one group of seeds.

    Args:
        runs: runs that differ only in their seed.
        results: their verdicts, from `pooled_verdicts`.
        id: letters, digits and hyphens, unique in the page.
        words: load the model to list the nearest words; own models are loaded in any case.
        caveats: start the findings with what a reader must know; the banner has it if there is one group.
    """
    logged = [run for run in runs if run.readings()]
    sentences = findings(logged, results) if logged else ["No step is logged yet."]
    if not caveats:
        sentences = [sentence for sentence in sentences if not sentence.startswith(CAVEAT)]
    found = Detail(id, title_of(runs), sentences, paths=[str(run.path) for run in runs])
    frames = frames_of(logged or runs)
    edges = _edges(runs)
    for name, (heading, draw) in FIGURES.items():
        try:
            figure = draw(frames, look="page", **({"edges": edges} if name == "spectra" else {}))
        except RankprobeError:
            continue
        found.figures[name] = (heading, inline(figure, f"{id}-{name}"))
    tables = {
        "readings": compared(logged, results) if logged else None,
        "differences": differences(logged),
        "measures": _measures(runs),
        "scores": _scores(runs),
        "words": _words(runs[0], words),
        "settings": _settings(runs),
    }
    for name, table in tables.items():
        if table is not None and len(table.frame):
            found.tables[name] = page_table(table, f"{id}-{name}-table", latex=name != "words")
    for heading, table_of in RANKS.items():
        table = table_of(runs)
        if table is not None:
            found.ranks.append((heading, page_table(table, f"{id}-rank-{len(found.ranks)}")))
    unmeasured = [run for run in logged if "final" not in run.truncations() and _has_prompt(run)]
    if unmeasured:
        found.commands.append((NEXT["truncation"], f"rankprobe truncate {quoted(unmeasured)}"))
    if "words" not in found.tables and _has_prompt(runs[0]):
        found.commands.append((NEXT["words"], f"rankprobe neighbors {quoted(runs[:1])}"))
    unfinished = [run for run in runs if run.status in ("killed", "interrupted", "failed")]
    if unfinished:
        found.commands.append((NEXT["training"], f"rankprobe resume {quoted(unfinished)}"))
    return found


def title_of(runs: Sequence[Run]) -> str:
    """Method, data, model and seeds of runs that differ only in their seed."""
    manifest = runs[0].manifest
    seeds = ", ".join(str(run.manifest["config"]["seed"]) for run in runs)
    method = manifest["config"].get("method")
    about = f"{method} on {manifest['data']['label']}, {manifest['backbone']['label']}"
    return f"{about}, seed{'s' if len(runs) > 1 else ''} {seeds}"


def _has_prompt(run: Run) -> bool:
    return (run.path / PROMPT).exists() and run.manifest["config"].get("prompt_length") != 0


def _prompts(runs: Sequence[Run]) -> list[Run]:
    """The runs whose final prompt can be read."""
    found = []
    for run in runs:
        try:
            if _has_prompt(run) and run.prompt().size:
                found.append(run)
        except RankprobeError:
            continue
    return found


def _edges(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Edges of the final P and ΔP, as means over seeds: below them, a singular value can be noise."""
    edges: dict[str, list[float]] = {"P": [], "dP": []}
    for run in _prompts(runs):
        tensors = run.tensors()
        P = tensors["final"].astype(np.float64)
        edges["P"].append(signflip_edge(P))
        if "P0" in tensors and tensors["P0"].shape == P.shape:
            edges["dP"].append(signflip_edge(P - tensors["P0"]))
    return {name: {"sign-flip edge, last step": float(np.mean(own))} for name, own in edges.items() if own}


def _measures(runs: Sequence[Run]) -> Table | None:
    """All measures of the final prompt next to their nulls, as means over seeds."""
    with_prompt = _prompts(runs)
    if not with_prompt:
        return None
    rows = analyze([run.path for run in with_prompt])
    rows = rows[(rows["prompt"] == "final") & rows["matrix"].isin(["P", "dP"])]
    columns = list(map(str, rows.columns))
    numbers = [name for name in columns[columns.index("value") :] if not name.endswith("_sd")]
    means = rows.groupby(["matrix", "measure"], sort=False)[numbers].mean().reset_index()
    method = calibrated_method(runs[0].manifest["config"])
    means["calibration"] = [
        calibration_text(measure, value, method)
        for measure, value in zip(means["measure"], means["value"], strict=True)
    ]
    means["matrix"] = means["matrix"].replace({"dP": "ΔP"})
    renamed = {name: name.replace("_", "-") for name in numbers if name not in ("value", "P0")}
    seeds = f", means of {len(with_prompt)} seeds" if len(with_prompt) > 1 else ""
    caption = (
        f"Measures of the final P and ΔP{seeds}, next to P0, to 20 copies with random signs (signflip), with "
        "shuffled entries (shuffled), to 20 Gaussian matrices (iid), and to the twins. effect: distance from "
        "the copies with random signs, in their standard deviations."
    )
    return Table(caption, means.rename(columns=renamed), [], heading=("matrix",))


def _used(runs: Sequence[Run]) -> Table | None:
    """The functional rank of each seed, with its interval."""
    rows = []
    for run in runs:
        config = run.manifest["config"]
        for row in (run.truncation() or {}).get("functional_rank", []):
            rank = row.get("functional_rank")
            method = calibrated_method(config)
            rows.append(
                {
                    "seed": config["seed"],
                    "matrix": {"dP": "ΔP, added to P0"}.get(row["matrix"], row["matrix"]),
                    "prompt": row.get("prompt", "final"),
                    "functional rank": "undefined" if rank is None else rank,
                    "from": _whole(row.get("low")),
                    "to": _whole(row.get("high")),
                    "calibration": "-" if rank is None else calibration_text("functional_rank", rank, method),
                }
            )
    caption = (
        "The functional rank: the least number of singular directions from which on 95 % of the gain over "
        "the baseline is kept, with its 95 % interval over dev examples. Undefined: the score does not "
        "exceed the baseline."
    )
    return Table(caption, pd.DataFrame(rows), []) if rows else None


def _reproducible(runs: Sequence[Run]) -> Table | None:
    """The reproducible rank of each seed that has replicates, by kind of pairs."""
    rows, least = [], least_agreement(known_ranges())
    for run in runs:
        outcome = read_replication(run)
        for kind in outcome.kinds if outcome else ():
            rows.append(
                {
                    "seed": run.manifest["config"]["seed"],
                    "pairs": kind.kind,
                    "reproducible rank": round(kind.cv_rank, 1),
                    "from": round(kind.low, 1),
                    "to": round(kind.high, 1),
                    "agreement": round(kind.agreement, 2),
                    "calibration": "inside" if kind.agreement >= least else "outside",
                    "number of pairs": kind.pairs,
                }
            )
    caption = (
        "The reproducible rank of ΔP (cv_rank): the number of directions of one training that best predict "
        "another, with its 95 % interval over pairs. A reproducible direction can still be drift: compare "
        f"with shuffled labels. The reading is inside its calibration from an agreement of {least:.2f} on."
    )
    return Table(caption, pd.DataFrame(rows), []) if rows else None


def _needed(runs: Sequence[Run]) -> Table | None:
    """The needed rank, with the decision at each k that was tried."""
    for run in runs:
        outcome = read_task_rank(run)
        if outcome is None:
            continue
        rows = [
            {
                "k": decision.k,
                "certified": "yes" if decision.certified else "no",
                "score": round(decision.score, 1),
                "margin": round(decision.margin, 1),
                "lower bound": round(decision.lower, 1),
                "tries": decision.tries,
                "reached the level": decision.reached,
            }
            for decision in sorted(outcome.decisions, key=lambda each: each.k)
        ]
        caption = (
            f"{outcome.sentence} A k is certified where the lower bound of the margin over 95 % of the gain "
            "is above 0. That a smaller k was not found is no proof that there is none."
        )
        return Table(caption, pd.DataFrame(rows), [])
    return None


RANKS: dict[str, Callable[[Sequence[Run]], Table | None]] = {
    "The rank that is used": _used,
    "The rank that is reproducible": _reproducible,
    "The rank that the task needs": _needed,
}
"""Heading and table of each rank that a command measures after training; a new one is a line here."""


def _whole(value: float | None) -> int | str:
    return "-" if value is None else round(value)


def _scores(runs: Sequence[Run]) -> Table | None:
    """The dev scores of each seed."""
    rows = []
    for run in runs:
        manifest = run.manifest
        progress: dict[str, Any] = manifest["progress"]
        row = {
            "seed": manifest["config"]["seed"],
            "run": run.id,
            "status": run.status,
            "step": progress.get("step"),
            "metric": progress.get("metric"),
            "untrained": progress.get("untrained"),
            "last": progress.get("last"),
            "best": progress.get("best"),
            "best step": progress.get("best_step"),
            "baseline": progress.get("baseline"),
            "invalid answers": progress.get("last_invalid"),
            "of": progress.get("last_n"),
        }
        held_back = {
            "held-back last": progress.get("report_last"),
            "held-back best": progress.get("report_best"),
            "held-back baseline": progress.get("report_baseline"),
        }
        rows.append(row | {name: value for name, value in held_back.items() if value is not None})
    caption = (
        "Dev scores in percent. The best step was selected on these rows, so best is biased upwards; last is "
        "not. Baseline: answers that ignore the texts. Invalid answers count as wrong."
    )
    return Table(caption, pd.DataFrame(rows), [])


def _words(run: Run, load: bool) -> Table | None:
    """The words nearest to each prompt token, by cosine; None if the model is not loaded."""
    if not _prompts([run]) or not (load or run.manifest["backbone"]["source"] == "bundled"):
        return None
    try:
        rows = neighbors(run, count=WORDS)
    except RankprobeError:
        if load:
            raise
        return None
    texts = rows["piece"] + rows["cosine"].map(" {:.2f}".format)
    table = rows.assign(text=texts).pivot(index="token", columns="place", values="text").reset_index()
    table.columns = ["prompt token", *(f"{place}" for place in range(1, WORDS + 1))]
    caption = (
        f"The {WORDS} vocabulary pieces nearest to each token of the final prompt of {run.id}, with cosine."
    )
    return Table(caption, table, [])


def _settings(runs: Sequence[Run]) -> Table | None:
    """The settings that differ from their defaults."""
    try:
        config = config_of(runs[0])
        about = {"task": config.task, "model": config.model, "method": config.method.name}
        defaults = RunConfig.parse(about).flat()
    except RankprobeError:
        return None
    rows = [
        {"setting": name, "value": setting_text(value), "default": setting_text(defaults.get(name))}
        for name, value in config.flat().items()
        if name != "seed" and value != defaults.get(name)
    ]
    caption = "Settings that differ from their defaults. All settings are in manifest.json."
    return Table(caption, pd.DataFrame(rows), []) if rows else None
