"""Trained prompts at work: scores on any split, votes, answers to new texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from rankprobe.backbone import Backbone, decode
from rankprobe.errors import RankprobeError, unknown
from rankprobe.runs import Run
from rankprobe.tasks import TASKS, Row, Split, load_split
from rankprobe.training.batching import Encoded, Ids, collate, source_ids
from rankprobe.training.config import TaskConfig, default_data
from rankprobe.training.evaluation import answers, scored
from rankprobe.training.exam import Exam, longest_answer, set_exam, task_of
from rankprobe.training.session import backbone_of, check_length, config_of
from rankprobe.training.trained import Which, answer_limit, check_backbone, trained_soft


@dataclass(frozen=True)
class Answered:
    """The answers to an exam, by the way of answering, and the names of model and data for people."""

    model: str
    data: str
    exam: Exam
    texts: Mapping[str, Sequence[str]]


def evaluate_runs(
    runs: Sequence[Run],
    *,
    which: Which = "final",
    split: str = "validation",
    ensemble: bool = False,
    device: str | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Scores of trained prompts, on their own task or on another.

    Runs that share backbone, prompt length and exam are answered in one pass.

    Args:
        runs: finished runs.
        which: the final prompt, or that of the best dev score (which was chosen on the validation rows).
        split: `train` or `validation`.
        ensemble: add the majority vote of all runs (Lester et al. 2021, section 6); ties go to the earlier.
        device: where to; unset: where each run was trained.
        settings: of the task, by the names of the flags: `task` for another one, `data`, `answers`, …

    Returns:
        One row per run, part, way of answering and metric, with majority score and invalid answers.

    Raises:
        RankprobeError: no run, an unfinished one, other weights than it was trained on, settings that do not
            fit, or an ensemble over different exams.
    """
    exams = [_exam_config(run, settings) for run in runs]
    if not runs:
        raise RankprobeError("no runs; give one or more")
    if ensemble and any(exam != exams[0] for exam in exams):
        raise RankprobeError("an ensemble votes on one exam; these runs differ in task settings")
    given: dict[int, Answered] = {}
    for group in _sharing(runs, exams):
        config, exam_config = config_of(runs[group[0]]), exams[group[0]]
        backbone = backbone_of(config, device)
        check_backbone(runs[group[0]], backbone)
        softs = [trained_soft(runs[i], backbone, which) for i in group]
        rows = load_split(task_of(exam_config), split, exam_config.data)
        own = (exam_config.name, exam_config.targets) == (config.task.name, config.task.targets)
        limit = answer_limit(runs[group[0]], backbone) if own else longest_answer(exam_config, backbone)
        exam = set_exam(exam_config, rows, backbone, limit)
        check_length(backbone, config.method.prompt_length, [exam.size])
        texts = {
            scoring: answers(exam, backbone, softs, config.training.batch_size, scoring)
            for scoring in exam.scoring
        }
        for member, i in enumerate(group):
            mine = {scoring: each[member] for scoring, each in texts.items()}
            given[i] = Answered(backbone.label, rows.label, exam, mine)
    members = [given[i] for i in range(len(runs))]
    table = [row for run, each in zip(runs, members, strict=True) for row in _rows(run.id, which, each)]
    if ensemble:
        models = ", ".join(dict.fromkeys(each.model for each in members))
        votes = {name: vote([each.texts[name] for each in members]) for name in members[0].texts}
        together = replace(members[0], model=models, texts=votes)
        table += _rows(f"ensemble of {len(runs)}", which, together)
    return pd.DataFrame(table)


def vote(members: Sequence[Sequence[str]]) -> list[str]:
    """The most frequent answer to each example; of several, the one given by the earliest member."""
    return [Counter(texts).most_common(1)[0][0] for texts in zip(*members, strict=True)]


def predict(
    requests: Sequence[tuple[Run, str | Row]],
    *,
    which: Which = "final",
    max_new_tokens: int | None = None,
    device: str | None = None,
) -> list[str]:
    """Answers to texts, each steered by the prompt of its own run; texts of many runs share a pass.

    Args:
        requests: pairs of a finished run and a source text, as the template of its task writes it, or a row
            of its task; a label is not needed. A row that is too long loses words of its long field, as in
            training; a text is cut at its end.
        which: the final prompt, or that of the best dev score.
        max_new_tokens: tokens of the longest answer; unset: as in the run's training (the longest label, or
            the longest training target where the task has no labels).
        device: where to; unset: where each run was trained.

    Raises:
        RankprobeError: an unfinished run, other weights than it was trained on, or a row that does not fit
            its task (`line` counts the requests from 1).
    """
    runs = list({run.path: run for run, _ in requests}.values())
    answered = [""] * len(requests)
    for group in _sharing(runs, [None] * len(runs)):
        members = {runs[i].path: runs[i] for i in group}
        config = config_of(runs[group[0]])
        backbone = backbone_of(config, device)
        check_backbone(runs[group[0]], backbone)
        softs = {path: trained_soft(run, backbone, which) for path, run in members.items()}
        limits = {path: max_new_tokens or answer_limit(run, backbone) for path, run in members.items()}
        mine = {i: run.path for i, (run, _) in enumerate(requests) if run.path in members}
        ids = {i: _ids(backbone, *requests[i], f"line {i + 1}") for i in mine}
        order = sorted(mine, key=lambda i: len(ids[i]))
        data = Encoded([], [], [ids[i] for i in order], [[0]] * len(order), max(limits.values()), 0)
        check_length(backbone, config.method.prompt_length, [data.size])
        for start in range(0, len(order), config.training.batch_size):
            chunk = range(start, min(start + config.training.batch_size, len(order)))
            rows = {path: [at for at in chunk if mine[order[at]] == path] for path in members}
            asked = [path for path in rows if rows[path]]
            batch = collate(
                data, [rows[path] for path in asked], backbone.tokenizer.pad_token_id, backbone.device
            )
            texts = decode(backbone, [softs[path] for path in asked], batch, [limits[path] for path in asked])
            for path, each in zip(asked, texts, strict=True):
                for at, text in zip(rows[path], each, strict=True):
                    answered[order[at]] = text
    return answered


def _ids(backbone: Backbone, run: Run, request: str | Row, where: str) -> Ids:
    """The tokens of a request, at most as many as the run was trained on."""
    config = config_of(run).task
    limit = config.max_source_length
    if isinstance(request, str):
        (ids,) = backbone.source_ids([request])
        return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
    task = task_of(config)
    examples = task.examples({**task.stand_in(), **request}, where)
    if len(examples) != 1:
        raise RankprobeError(f"{where}: holds {len(examples)} questions; expected one")
    (ids,), _, _ = source_ids(Split(task, "request", "request", where, examples), backbone.source_ids, limit)
    return ids


def _exam_config(run: Run, settings: Mapping[str, Any]) -> TaskConfig:
    """The run's own task settings, but for those given by the names of their flags."""
    config = config_of(run)
    own = config.task.model_dump() | {"shots": None, "balanced": False}
    for name, value in settings.items():
        leaf = "name" if name == "task" else name
        if leaf not in own or name == "name":
            raise unknown("setting", name, ["task", *(each for each in own if each != "name")])
        own[leaf] = own[leaf] if value is None else value
    if own["name"] != config.task.name and settings.get("data") is None:
        kept = own["data"] if own["name"] in TASKS else None
        own["data"] = kept or default_data(own["name"], config.backbone.model)
    return TaskConfig.parse(own)


def _rows(run_id: str, which: str, given: Answered) -> Iterator[dict[str, Any]]:
    named = {"run_id": run_id, "prompt": which, "model": given.model, "data": given.data}
    for scoring, texts in given.texts.items():
        for part in given.exam.parts:
            yield from (named | row for row in scored(given.exam, texts, part, scoring))


def _sharing(runs: Sequence[Run], exams: Sequence[TaskConfig | None]) -> Iterable[list[int]]:
    """Numbers of runs that can share a pass: same backbone, prompt length and exam; fine-tuned ones alone."""
    groups: dict[str, list[int]] = {}
    for i, (run, exam) in enumerate(zip(runs, exams, strict=True)):
        config = config_of(run)
        alone = str(run.path.resolve()) if config.method.trains_backbone else ""
        own = [config.backbone.model_dump(), config.method.prompt_length, alone, exam and exam.model_dump()]
        groups.setdefault(json.dumps(own), []).append(i)
    return groups.values()
