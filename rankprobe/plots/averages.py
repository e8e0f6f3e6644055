"""Scores averaged over tasks: the paper's Figure 1, and Figure 4 with few shots."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.paper import TASKS
from rankprobe.plots.curves import (
    Score,
    curve_points,
    name_curves,
    on_common_tasks,
    scored_runs,
    split_for_averages,
    task_average,
)
from rankprobe.plots.legend import finish_figure, seeds_note
from rankprobe.plots.marks import draw_baselines, draw_dots, each_curve, log_axis, score_label, short_count
from rankprobe.plots.panels import fit_row_labels, panel_blocks, panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.scores import draw_curves, draw_paper_star, draw_score_panel, paper_values, require_runs
from rankprobe.plots.style import style
from rankprobe.runs import Frames

LABEL_LETTERS = 22
"""Maximum number of letters in a line of a row's label."""

FIG4_TASKS = ("wic", "cb", "rte", "copa")
"""Tasks with a panel of their own in fig4, if they have runs. The choice is ours, after Figures 5 and 6."""


def fig1(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Average score over tasks: a panel per model, a row per method with its number of trained parameters.

    Source: Xiao et al. (2023), Figure 1. The average is over the tasks that every method has, from runs on
    all training rows; runs that lack one of these tasks are left out. Miniature tasks have panels of their
    own. A star is the paper's average over the same tasks; it is drawn where the runs are comparable.

    Raises:
        RankprobeError: no finished runs, or no task that all methods have.
    """
    needs = "finished runs of the same tasks for every method, on all training rows"
    command = "rankprobe sweep experiments/table1_superglue.toml"
    runs = scored_runs(frames, score)
    runs = name_curves(frames, require_runs(runs[runs["shots"].isna()], "fig1", needs, command))
    averaged = pd.concat([on_common_tasks(part) for _, _, part in split_for_averages(runs)])
    runs = name_curves(frames, require_runs(averaged, "fig1", needs, command))
    points = []
    with style(look) as sizes:
        parts = split_for_averages(runs)
        figure, all_axes = panels(len(parts), sizes)
        for axes, (model, kind, part) in zip(all_axes, parts, strict=True):
            points.append(_draw_rows(axes, part))
            axes.set_title(f"{model}\nmean of {part['data_label'].nunique()} {kind}")
            axes.set_xlabel(score_label(part["metric"], score))
        note = seeds_note(points, "bar") + "; in brackets: trained parameters"
        finish_figure(figure, sizes, note, methods=runs["method"].cat.categories)
        fit_row_labels(figure, all_axes, sizes)
    return attach_run_ids(figure, runs["run_id"])


def _draw_rows(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """Draw a row per curve, the first on top; return the points."""
    averages = task_average(runs)
    points = curve_points(averages)
    trained = averages.groupby("curve")["trainable_parameters"].mean()
    draw_baselines(axes, [averages["baseline"].mean()], vertical=True)
    for row, (line, part) in enumerate(each_curve(points)):
        draw_dots(axes, [row], part, vertical=False, **line | {"label": None})
        method, name = part["method"].iloc[0], part["curve"].iloc[0]
        value = _paper_average(runs[runs["curve"] == name], method)
        if value is not None:
            draw_paper_star(axes, method, value, row)
    names = [f"{name} ({short_count(trained[name])})" for name in points["curve"]]
    axes.set_yticks(range(len(points)), [textwrap.fill(name, LABEL_LETTERS) for name in names])
    axes.set_ylim(len(points) - 0.5, -0.5)
    return points


def _paper_average(runs: pd.DataFrame, method: str) -> float | None:
    """The paper's average over the tasks of these runs; None if the paper lacks one of them.

    For all tasks, it is the average that the paper prints. (For dpt on T5-Base, this differs slightly from
    the mean of the printed scores.)
    """
    tables = [paper_values(part) for _, part in runs.groupby("data_label")]
    values = [table[method] for table in tables if method in table]
    if len(values) < len(tables):
        return None
    if set(runs["task"]) == set(TASKS):
        return paper_values(runs.assign(task="average"))[method]
    return sum(values) / len(values)


def fig4(
    frames: Frames, *, score: Score = "last", tasks: list[str] | None = None, look: str = "screen"
) -> Figure:
    """Score over the number of training rows: a panel for the average over tasks, then a panel per task.

    Source: Xiao et al. (2023), Figure 4. Each model has a block of rows. The average is over the tasks that
    every method has.

    Args:
        frames: as `load_runs` returns them.
        score: `last`, of the last step; or `best`, of the step with the best dev score.
        tasks: tasks with a panel; None: WiC, CB, RTE and COPA if they have runs, otherwise all.
        look: `screen` or `paper`.

    Raises:
        RankprobeError: no finished run with few shots.
    """
    runs = scored_runs(frames, score)
    needs = "finished runs on few training rows (--shots)"
    command = "rankprobe sweep experiments/fig4_few_shot.toml"
    runs = require_runs(runs[runs["shots"].notna()], "fig4", needs, command)
    runs = name_curves(frames, runs, "shots")
    panel_tasks = list(runs["task"].unique()) if tasks is None else tasks
    if tasks is None and set(FIG4_TASKS) & set(panel_tasks):
        panel_tasks = [task for task in FIG4_TASKS if task in panel_tasks]
    points, ids = [], []
    with style(look) as sizes:
        parts = [
            (model, kind, part, _by_task(part, panel_tasks)) for model, kind, part in split_for_averages(runs)
        ]
        figure, blocks = panel_blocks([1 + len(task_runs) for *_, task_runs in parts], sizes)
        for (model, kind, part, task_runs), (first, *others) in zip(parts, blocks, strict=True):
            averaged = on_common_tasks(part, "shots")
            title = f"mean of {averaged['data_label'].nunique()} {kind}\n{model}"
            points += _draw_average(first, averaged, title, score)
            for axes, runs_of_task in zip(others, task_runs, strict=True):
                points += draw_score_panel(axes, runs_of_task, "shots", score)
            ids += [*averaged["run_id"], *(i for task_part in task_runs for i in task_part["run_id"])]
            for axes in (first, *others):
                log_axis(axes.xaxis, part["shots"])
                axes.set_xlabel("training rows (shots)")
        finish_figure(figure, sizes, seeds_note(points), methods=runs["method"].cat.categories)
    return attach_run_ids(figure, ids)


def _by_task(runs: pd.DataFrame, tasks: list[str]) -> list[pd.DataFrame]:
    return [part for task in tasks for _, part in runs[runs["task"] == task].groupby("data_label")]


def _draw_average(axes: Axes, runs: pd.DataFrame, title: str, score: str) -> list[pd.DataFrame]:
    if runs.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no task that every\nmethod has", ha="center", va="center")
        return []
    averages = task_average(runs, "shots")
    points = curve_points(averages, "shots")
    draw_curves(axes, points)
    draw_baselines(axes, [averages["baseline"].mean()])
    axes.set(title=title, ylabel=score_label(runs["metric"], score))
    return [points]
