"""Draw the atlas: readings of trained prompts by task and model, and the directions that prompts share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.legend import finish_figure
from rankprobe.plots.panels import fit_row_labels, panels
from rankprobe.plots.style import method_style, style
from rankprobe.text import plain

READINGS = {
    "P_erank_rv": "effective rank of P",
    "P_rows_stable_rank": "stable rank, rows of length one",
    "P_rows_signflip_edge": "directions beyond sign flips, rows of length one",
}
"""The readings of the first panels, with their titles."""

OVERLAPS: dict[str, tuple[str, dict[str, Any]]] = {
    "phi_related": ("tasks of one kind", {"marker": "o"}),
    "phi_other": ("tasks of two kinds", {"marker": "s", "fillstyle": "none"}),
    "phi_shuffled": ("entries of each row shuffled", {"marker": "x"}),
    "phi_random": ("random subspaces, k / d", {"marker": "|"}),
}
"""The mean overlaps of the last panel, with their names in the legend and their marks."""


def atlas(prompts: pd.DataFrame, directions: pd.DataFrame, *, look: str = "screen") -> Figure:
    """Readings of each distinct prompt, a row per task and a colour per model, and overlaps of prompts.

    A filled mark is a prompt, an open one of the same colour the mean of its sign-flip null. The last panel
    has the mean overlap of the first k directions over pairs of prompts of one model. Without `directions`
    it is left out.

    Args:
        prompts: `reports.Atlas.prompts`.
        directions: `reports.Atlas.directions`.
        look: `screen` or `paper`.
    """
    distinct = prompts[prompts["copy_of"] == ""]
    models = list(dict.fromkeys(distinct["model"]))
    tasks = list(dict.fromkeys(distinct.sort_values(["kind", "task"], kind="stable")["task"]))
    with style(look) as sizes:
        figure, all_axes = panels(len(READINGS) + bool(len(directions)), sizes)
        for axes, (column, title) in zip(all_axes, READINGS.items(), strict=False):
            _draw_readings(axes, distinct, column, models, tasks)
            axes.set(title=title)
            _start_at_zero(axes)
        for axes in all_axes[1 : len(READINGS)]:
            axes.set_yticklabels([])
        if len(directions):
            _draw_overlaps(all_axes[-1], directions)
        fit_row_labels(figure, all_axes, sizes)
        note = f"{len(distinct)} distinct prompts; open marks: mean of 20 copies with random signs"
        finish_figure(figure, sizes, note)
    return figure


def _draw_readings(
    axes: Axes, prompts: pd.DataFrame, column: str, models: list[str], tasks: list[str]
) -> None:
    place = {task: i for i, task in enumerate(tasks)}
    for i, model in enumerate(models):
        part = prompts[prompts["model"] == model]
        offset = 0.5 * ((i + 0.5) / len(models) - 0.5)  # the marks of models do not hide each other
        rows = part["task"].map(place).to_numpy(dtype=float) + offset
        look = method_style(i + 3)
        mark: dict[str, Any] = {"color": look["color"], "marker": look["marker"], "linestyle": "none"}
        axes.plot(part[f"{column}_signflip"], rows, fillstyle="none", markersize=3.5, **mark)
        axes.plot(part[column], rows, label=plain(model), markersize=4, **mark)
    axes.set_yticks(range(len(tasks)), [plain(task) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)


def _draw_overlaps(axes: Axes, directions: pd.DataFrame) -> None:
    names = directions["model"].str.cat(directions["compared"], sep=", ")
    rows = np.arange(len(directions))
    for column, (label, mark) in OVERLAPS.items():
        axes.plot(directions[column], rows, label=label, color="#333333", linestyle="none", **mark)
    axes.set_yticks(rows, [plain(name) for name in names])
    axes.set_ylim(len(directions) - 0.5, -0.5)
    k = ", ".join(f"{k}" for k in directions["k"].unique())
    axes.set(title=f"mean overlap φ of the first {k} directions")
    _start_at_zero(axes)


def _start_at_zero(axes: Axes) -> None:
    """Start the x axis at zero, and draw marks at its ends whole."""
    axes.set_xlim(left=0)
    for line in axes.get_lines():
        line.set_clip_on(False)
