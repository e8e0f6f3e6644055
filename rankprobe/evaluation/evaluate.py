"""Scores of finished runs: on their own task or another one, alone or by majority vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from rankprobe.config import RunConfig, TaskConfig, names_its_files
from rankprobe.config.folders import config_of
from rankprobe.data import EvalSet, build_eval_set, check_length, max_answer_length, task_of
from rankprobe.errors import RankprobeError, unknown
from rankprobe.evaluation.load import (
    Which,
    answer_limit,
    backbone_of,
    check_backbone,
    load_prompt,
    sharing_a_pass,
    with_template,
)
from rankprobe.evaluation.scoring import answer, score_answers
from rankprobe.runs import Run
from rankprobe.tasks import load_split


@dataclass(frozen=True)
class RunAnswers:
    """The answers of one run to an evaluation set.

    Attributes:
        model: label of the backbone.
        data: label of the rows.
        eval_set: the examples.
        texts: an answer to each example, by way of scoring.
    """

    model: str
    data: str
    eval_set: EvalSet
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
    """Score trained prompts on their own task or another one.

    Runs with the same backbone, prompt length and task settings share a pass.

    Args:
        runs: finished runs.
        which: `final`, or `best`, which was chosen by its score on the validation rows.
        split: `train` or `validation`.
        ensemble: add the majority vote of all runs (Lester et al. 2021, section 6); the first run wins ties.
        device: default: the device of each run's training.
        settings: task settings that differ from those of the runs: `task`, `data`, `scoring`, …

    Returns:
        A row per run, part, way of scoring and metric, with the baseline and the number of invalid answers.

    Raises:
        RankprobeError: no runs, an unfinished run, other weights than in its training, a setting that does
            not fit, or an ensemble of runs with different task settings.
    """
    if not runs:
        raise RankprobeError("no runs; give one or more")
    configs = [_eval_config(run, settings) for run in runs]
    task_settings = [config.section(TaskConfig) for config in configs]
    if ensemble and any(each != task_settings[0] for each in task_settings):
        raise RankprobeError("an ensemble needs runs with the same task settings; these runs differ in them")
    by_run: dict[int, RunAnswers] = {}
    for group in sharing_a_pass(runs, task_settings):
        first, config, eval_config = runs[group[0]], config_of(runs[group[0]]), configs[group[0]]
        backbone = with_template(backbone_of(config, device), eval_config.template)
        check_backbone(first, backbone)
        prompt_inputs = [load_prompt(runs[i], backbone, which) for i in group]
        rows = load_split(task_of(eval_config), split, eval_config.data)
        same_answers = (eval_config.task, eval_config.targets) == (config.task, config.targets)
        limit = answer_limit(first, backbone) if same_answers else max_answer_length(eval_config, backbone)
        eval_set = build_eval_set(eval_config, rows, backbone, limit)
        check_length(backbone, config.method.prompt_length, [eval_set.size])
        texts = {
            scoring: answer(eval_set, backbone, prompt_inputs, config.batch_size, scoring)
            for scoring in eval_set.scoring
        }
        for member, i in enumerate(group):
            own_texts = {scoring: by_member[member] for scoring, by_member in texts.items()}
            by_run[i] = RunAnswers(backbone.label, rows.label, eval_set, own_texts)
    answers = [by_run[i] for i in range(len(runs))]
    table = [row for run, each in zip(runs, answers, strict=True) for row in _rows(run.id, which, each)]
    if ensemble:
        models = ", ".join(dict.fromkeys(each.model for each in answers))
        votes = {scoring: vote([each.texts[scoring] for each in answers]) for scoring in answers[0].texts}
        table += _rows(f"ensemble of {len(runs)}", which, replace(answers[0], model=models, texts=votes))
    return pd.DataFrame(table)


def vote(members: Sequence[Sequence[str]]) -> list[str]:
    """The most frequent answer to each example; the first member wins ties."""
    return [Counter(texts).most_common(1)[0][0] for texts in zip(*members, strict=True)]


def _eval_config(run: Run, settings: Mapping[str, Any]) -> RunConfig:
    """The config of a run with other task settings; a setting that is None keeps the run's own value.

    Raises:
        RankprobeError: not a task setting, or a value out of range.
    """
    config = config_of(run)
    for name in settings:
        if name not in TaskConfig.model_fields:
            raise unknown("setting", name, TaskConfig.model_fields)
    given = {name: value for name, value in settings.items() if value is not None}
    given |= {"shots": None, "balanced": False, "train_half": "all"}  # they choose training rows
    if given.get("task", config.task) != config.task and names_its_files(given["task"]):
        given.setdefault("data", None)
    return RunConfig.parse(config.flat() | given)


def _rows(run_id: str, which: str, answers: RunAnswers) -> Iterator[dict[str, Any]]:
    about = {"run_id": run_id, "prompt": which, "model": answers.model, "data": answers.data}
    for scoring, texts in answers.texts.items():
        for part in answers.eval_set.parts:
            yield from (about | row for row in score_answers(answers.eval_set, texts, part, scoring))
