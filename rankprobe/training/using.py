"""Trained prompts at work: scores on any split, votes, answers to new texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from rankprobe.backbone import Backbone, TextBatch, decode
from rankprobe.errors import RankprobeError
from rankprobe.runs import Run
from rankprobe.tasks import load_split
from rankprobe.tasks.base import text_field
from rankprobe.training.batching import Encoded, collate
from rankprobe.training.config import RunConfig, TaskConfig
from rankprobe.training.evaluation import answers, scored
from rankprobe.training.exam import Exam, set_exam, task_of
from rankprobe.training.trained import Which, backbone_of, config_of, trained_soft

NEW_TOKENS = 32
"""How long an answer may get where the task has no label set."""


def evaluate_runs(
    runs: Sequence[Run],
    *,
    which: Which = "best",
    split: str = "validation",
    ensemble: bool = False,
    **overrides: Any,
) -> pd.DataFrame:
    """Scores of trained prompts, on their own task or on another.

    Runs that share backbone, prompt length and exam are answered in one pass.

    Args:
        runs: finished runs.
        which: the prompt of the best dev score, or the final one.
        split: `train` or `validation`.
        ensemble: add the majority vote of all runs (Lester et al. 2021, section 6); ties go to the earlier.
        overrides: settings of the task by their names in `TaskConfig`, such as `name` for another task.

    Returns:
        One row per run, part, way of answering and metric, with majority score and invalid answers.

    Raises:
        RankprobeError: an unfinished run, settings that do not fit, or an ensemble over different exams.
    """
    exams = [_exam_config(run, overrides) for run in runs]
    given: dict[int, tuple[Exam, dict[str, list[str]]]] = {}
    for group in _sharing(runs, exams):
        config = config_of(runs[group[0]])
        backbone = backbone_of(config)
        softs = [trained_soft(runs[i], backbone, which) for i in group]
        exam = _open(exams[group[0]], split, backbone)
        texts = {
            scoring: answers(exam, backbone, softs, config.training.batch_size, scoring)
            for scoring in exam.scoring
        }
        for member, i in enumerate(group):
            given[i] = exam, {scoring: each[member] for scoring, each in texts.items()}
    rows = [row for i, run in enumerate(runs) for row in _rows(run.id, which, *given[i])]
    if ensemble:
        if any(exam != exams[0] for exam in exams):
            raise RankprobeError("an ensemble votes on one exam; these runs differ in task settings")
        exam, by_scoring = given[0]
        votes = {scoring: vote([given[i][1][scoring] for i in given]) for scoring in by_scoring}
        rows += _rows(f"ensemble of {len(runs)}", which, exam, votes)
    return pd.DataFrame(rows)


def vote(members: Sequence[Sequence[str]]) -> list[str]:
    """The most frequent answer to each example; of several, the one given by the earliest member."""
    return [Counter(texts).most_common(1)[0][0] for texts in zip(*members, strict=True)]


def predict(
    requests: Sequence[tuple[Run, str]], *, which: Which = "best", max_new_tokens: int | None = None
) -> list[str]:
    """Answers to texts, each steered by the prompt of its own run; texts of many runs share a pass.

    Args:
        requests: pairs of a finished run and a source text, as `Task.source` writes it.
        which: the prompt of the best dev score, or the final one.
        max_new_tokens: the longest answer; unset: the longest label, or 32 where a task has none.

    Raises:
        RankprobeError: an unfinished run.
    """
    runs = list({run.path: run for run, _ in requests}.values())
    answered = [""] * len(requests)
    for group in _sharing(runs, [None] * len(runs)):
        members = [runs[i] for i in group]
        backbone = backbone_of(config_of(members[0]))
        softs = {run.path: trained_soft(run, backbone, which) for run in members}
        mine = [i for i, (run, _) in enumerate(requests) if run.path in softs]
        length = max_new_tokens or max(_longest(run, backbone) for run in members)
        for chunk in _chunks(mine, [len(requests[i][1]) for i in mine], config_of(members[0])):
            chosen = [path for path in softs if any(requests[i][0].path == path for i in chunk)]
            rows = [[i for i in chunk if requests[i][0].path == path] for path in chosen]
            texts = [requests[i][1] for each in rows for i in each]
            found = decode(
                backbone, [softs[path] for path in chosen], _batch(backbone, texts, rows, members[0]), length
            )
            for each, given in zip(rows, found, strict=True):
                for i, text in zip(each, given, strict=True):
                    answered[i] = text
    return answered


def source_text(run: Run, fields: Mapping[str, Any], where: str) -> str:
    """The source text of a row of fields, by the template of the run's task.

    Raises:
        RankprobeError: a field is missing or no text.
    """
    task = task_of(config_of(run).task)
    return task.source({field: text_field(task, fields, field, where) for field in task.fields})


def _exam_config(run: Run, overrides: Mapping[str, Any]) -> TaskConfig:
    own = config_of(run).task.model_dump() | {"shots": None, "balanced": False}
    return TaskConfig.parse(own | {name: value for name, value in overrides.items() if value is not None})


def _open(config: TaskConfig, split: str, backbone: Backbone) -> Exam:
    return set_exam(config, load_split(task_of(config), split, config.data), backbone)


def _rows(
    run_id: str, which: str, exam: Exam, texts: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    for scoring, each in texts.items():
        for part in exam.parts:
            for row in scored(exam, each, part, scoring):
                yield {"run_id": run_id, "prompt": which, "task": exam.task.name, **row}


def _sharing(runs: Sequence[Run], exams: Sequence[TaskConfig | None]) -> Iterable[list[int]]:
    """Numbers of runs that can share a pass: same backbone, prompt length and exam; fine-tuned ones alone."""
    groups: dict[str, list[int]] = {}
    for i, (run, exam) in enumerate(zip(runs, exams, strict=True)):
        config = config_of(run)
        alone = run.id if config.method.trains_backbone else ""
        own = [config.backbone.model_dump(), config.method.prompt_length, alone, exam and exam.model_dump()]
        groups.setdefault(json.dumps(own), []).append(i)
    return groups.values()


def _chunks(rows: Sequence[int], lengths: Sequence[int], config: RunConfig) -> Iterator[list[int]]:
    """Row numbers in batches, texts of like length together."""
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    size = config.training.batch_size
    for start in range(0, len(order), size):
        yield [rows[i] for i in order[start : start + size]]


def _batch(backbone: Backbone, texts: Sequence[str], rows: Sequence[Sequence[int]], run: Run) -> TextBatch:
    limit = config_of(run).task.max_source_length
    whole = backbone.source_ids(texts)
    ids = [each[: limit - 1] + each[-1:] if len(each) > limit else each for each in whole]
    data = Encoded([], [], ids, [ids[0][-1:]] * len(ids), 0, 0)
    numbers = iter(range(len(ids)))
    members = [[next(numbers) for _ in each] for each in rows]
    return collate(data, members, backbone.tokenizer.pad_token_id, backbone.device)


def _longest(run: Run, backbone: Backbone) -> int:
    config = config_of(run).task
    labels = task_of(config).answer_set(config.targets)
    return max(map(len, backbone.answer_ids(labels))) if labels else NEW_TOKENS
