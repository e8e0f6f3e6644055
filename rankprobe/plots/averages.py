"""Scores averaged over tasks: the paper's Figure 1, and Figure 4 for few shots."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.bundled.paper import TASKS
from rankprobe.plots.curves import Score, average, kinds, named, over_tasks, points, scored
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import compact, dots, lines, log_axis, majority, score_label
from rankprobe.plots.panels import blocks, panels, room_for_rows
from rankprobe.plots.scores import curves_over, or_error, paper_values, score_panel, star
from rankprobe.plots.style import style
from rankprobe.runs import Frames

LETTERS = 22
"""In a line of a row's name, at most."""

SHOWN = ("wic", "cb", "rte", "copa")
"""Tasks with a panel of their own in fig4, where there are runs of them (ours; those of Figures 5 and 6)."""


def fig1(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Average score over tasks, a row per method with what it trains, a panel per model.

    Source: Xiao et al. (2023), Figure 1. Averaged are runs on all training rows, over the tasks that every
    method has; what lacks one of them is left out. Miniature tasks and others have panels of their own. The
    paper's average, where the runs can stand beside it, is over the same tasks.

    Raises:
        RankprobeError: no finished runs, or no task that all methods have.
    """
    runs = scored(frames, score)
    runs = named(frames, runs[runs["shots"].isna()]) if len(runs) else runs
    whole = [over_tasks(part) for _, _, part in kinds(runs)] if len(runs) else []
    needs = "finished runs of the same tasks for every method, on all training rows"
    kept = pd.concat(whole) if whole else runs
    kept = named(frames, or_error(kept, "fig1", needs, "rankprobe sweep experiments/table1_superglue.toml"))
    drawn = []
    with style(look) as page:
        found = kinds(kept)
        figure, grid = panels(len(found), page)
        for axes, (model, of, part) in zip(grid, found, strict=True):
            drawn.append(_rows(axes, part))
            axes.set_title(f"{model}\nmean of {part['data_label'].nunique()} {of}")
            axes.set_xlabel(score_label(part["metric"], score))
        finish(figure, page, seeds(drawn, "bar") + "; in brackets: trained parameters")
        room_for_rows(figure, grid, page)
    return signed(figure, kept["run_id"])


def _rows(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """A row per curve, the first on top; the points drawn."""
    means = average(runs)
    found = points(means)
    trained = means.groupby("curve")["trainable_parameters"].mean()
    majority(axes, [means["majority"].mean()], upright=True)
    for row, (line, part) in enumerate(lines(found)):
        dots(axes, [row], part, upright=False, **line | {"label": None})
        method, name = part["method"].iloc[0], part["curve"].iloc[0]
        value = _paper_average(runs[runs["curve"] == name], method)
        if value is not None:
            star(axes, method, value, row)
    names = [f"{name} ({compact(trained[name])})" for name in found["curve"]]
    axes.set_yticks(range(len(found)), [textwrap.fill(name, LETTERS) for name in names])
    axes.set_ylim(len(found) - 0.5, -0.5)
    return found


def _paper_average(runs: pd.DataFrame, method: str) -> float | None:
    """The paper's average over the tasks of these runs, if it has all of them.

    Of all its tasks it is the printed one, which for dpt on T5-Base is not quite that of the printed scores.
    """
    tables = [paper_values(part) for _, part in runs.groupby("data_label")]
    found = [table[method] for table in tables if method in table]
    if len(found) < len(tables):
        return None
    if set(runs["task"]) == set(TASKS):
        return paper_values(runs.assign(task="average"))[method]
    return sum(found) / len(found)


def fig4(
    frames: Frames, *, score: Score = "last", tasks: list[str] | None = None, look: str = "screen"
) -> Figure:
    """Score over the number of training rows: the average over tasks, then a panel per task.

    Source: Xiao et al. (2023), Figure 4. A block of rows per model. Averaged are the tasks that every method
    has.

    Args:
        frames: of `load_runs`.
        score: of the last step, or the best one, chosen on the rows it is reported on.
        tasks: which have a panel; unset: WiC, CB, RTE and COPA where there are runs of them, else all.
        look: `screen` or `paper`.

    Raises:
        RankprobeError: no finished run on few shots.
    """
    runs = scored(frames, score)
    needs = "finished runs on few training rows (--shots)"
    runs = or_error(
        runs[runs["shots"].notna()], "fig4", needs, "rankprobe sweep experiments/fig4_few_shot.toml"
    )
    runs = named(frames, runs, "shots")
    wanted = list(runs["task"].unique()) if tasks is None else tasks
    if tasks is None and set(SHOWN) & set(wanted):
        wanted = [task for task in SHOWN if task in wanted]
    drawn, ids = [], []
    with style(look) as page:
        found = [(model, of, part, _by_task(part, wanted)) for model, of, part in kinds(runs)]
        figure, grid = blocks([1 + len(own) for *_, own in found], page)
        for (model, of, part, own), (first, *others) in zip(found, grid, strict=True):
            whole = over_tasks(part, "shots")
            drawn += _average(first, whole, f"mean of {whole['data_label'].nunique()} {of}\n{model}", score)
            for axes, each in zip(others, own, strict=True):
                drawn += score_panel(axes, each, "shots", score)
            ids += [*whole["run_id"], *(run_id for each in own for run_id in each["run_id"])]
            for axes in (first, *others):
                log_axis(axes.xaxis, axes.set_xscale, part["shots"])
                axes.set_xlabel("training rows (shots)")
        finish(figure, page, seeds(drawn))
    return signed(figure, ids)


def _by_task(runs: pd.DataFrame, wanted: list[str]) -> list[pd.DataFrame]:
    return [part for task in wanted for _, part in runs[runs["task"] == task].groupby("data_label")]


def _average(axes: Axes, whole: pd.DataFrame, title: str, score: str) -> list[pd.DataFrame]:
    if whole.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no task that every\nmethod has", ha="center", va="center")
        return []
    means = average(whole, "shots")
    found = points(means, "shots")
    curves_over(axes, found)
    majority(axes, [means["majority"].mean()])
    axes.set(title=title, ylabel=score_label(whole["metric"], score))
    return [found]
