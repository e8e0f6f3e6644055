"""The probe's number of positive entries with its nulls: noise twins, wrong labels. Not in the paper."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import (
    curve_points,
    drop_single_points,
    finished_runs,
    name_curves,
    without_controls,
)
from rankprobe.plots.legend import finish_figure, seeds_note
from rankprobe.plots.marks import draw_curve, draw_dots, each_curve, log_axis, start_at_zero
from rankprobe.plots.panels import fit_row_labels, panels
from rankprobe.plots.save import attach_run_ids
from rankprobe.plots.scores import panel_title, require_runs, runs_by_panel
from rankprobe.plots.style import BASELINE_LINE, RUN_LINE, TWIN_LINE, style
from rankprobe.plots.twins import draw_envelope, twin_columns, twin_label, twins_note
from rankprobe.runs import Frames
from rankprobe.twins import TWINS

COUNT_LABEL = "positive entries of σ, last step"

VARIANT_STYLES = [
    (("#0b3c6f", "#6c96be"), "o"),
    (("#963800", "#b88863"), "s"),
    (("#1f1f1f", "#8a949c"), "^"),
    (("#1b5f47", "#959387"), "D"),
]
"""((colour of the run, colour of the twin), marker) of the curves in `grid`, repeated after the last."""

SIGN_COLUMNS = ["n_positive", "n_negative", "n_zero"]

DOTS: dict[str, dict[str, str]] = {
    "none": {"label": "true labels", "color": "#0b3c6f", "marker": "o"},
    "shuffle-labels": {"label": "labels of other rows", "color": "#ba5113", "marker": "s"},
    "random-labels": {"label": "random labels", "color": "#b98b1d", "marker": "D"},
}
"""Label, colour and marker in `controls`, of runs by their setting `control`."""

TWIN_COLOUR, TWIN_MARKERS = "#929292", dict(zip(TWINS, "^v<>", strict=True))
"""Colour and markers in `controls`, of noise twins by kind."""

LABEL_LETTERS = 36
"""Maximum number of letters in a line of a row's label."""

DOT_DISTANCE = 0.2
"""Distance between the dots of one task; neighbouring tasks are 1 apart."""


def grid(frames: Frames, *, look: str = "screen") -> Figure:
    """Final number of positive entries of σ over the learning rate: a curve per initial σ.

    A panel per task and model. Runs are solid. Their noise twins are lighter: a dashed line, or the area
    between the lowest and the highest of several.

    Raises:
        RankprobeError: no finished run of the probe.
    """
    runs = without_controls(_probes(frames))
    require_runs(runs, "grid", "finished runs of the probe", "rankprobe sweep experiments/sigma_grid.toml")
    runs = name_curves(frames, drop_single_points(frames, runs, "learning_rate"), "learning_rate")
    parts = [part for row in runs_by_panel(runs) for part in row]
    points = []
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        for axes, part in zip(all_axes, parts, strict=True):
            points += _draw_over_rate(axes, part)
            axes.set_title(panel_title(part))
        notes = [seeds_note(points), twins_note(twin_columns(runs, "n_positive"))]
        finish_figure(figure, sizes, "; ".join(filter(None, notes)))
    return attach_run_ids(figure, runs["run_id"])


def _draw_over_rate(axes: Axes, runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Draw the curves of runs and twins over the learning rate; return the points."""
    points = _points_over_rate(runs, "n_positive")
    for label, (run_colour, _), marker, part in _curves(points):
        draw_curve(axes, part, color=run_colour, marker=marker, label=label, **RUN_LINE)
    twins = twin_columns(runs, "n_positive")
    of_twins = [_points_over_rate(runs, column).assign(twin=kind) for kind, column in twins.items()]
    for label, (_, twin_colour), marker, part in _curves(pd.concat(of_twins)) if twins else ():
        label = f"{label}, {twin_label(twins)}"
        if len(twins) == 1:
            draw_curve(axes, part, color=twin_colour, marker=marker, label=label, **TWIN_LINE)
        else:
            means = {str(kind): one.set_index("x")["mean"] for kind, one in part.groupby("twin")}
            draw_envelope(axes, means, twin_colour, label)
    log_axis(axes.xaxis, runs["learning_rate"])
    start_at_zero(axes)
    axes.set(xlabel="peak learning rate", ylabel=COUNT_LABEL)
    return [points, *of_twins]


def _points_over_rate(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    return curve_points(runs[runs[column].notna()], "learning_rate", column)


def _curves(points: pd.DataFrame) -> Iterator[tuple[str, tuple[str, str], str, pd.DataFrame]]:
    """Yield label, colours of run and twin, marker, and points of each curve."""
    for line, part in each_curve(points):
        colours, marker = VARIANT_STYLES[part["variant"].iloc[0] % len(VARIANT_STYLES)]
        yield line["label"].removeprefix("probe, "), colours, marker, part


def controls(frames: Frames, *, look: str = "screen") -> Figure:
    """Final number of positive entries of σ with true labels, with wrong labels, and of the noise twins.

    A panel per model, and a row per task that has runs on wrong labels. The noise twins belong to the runs on
    true labels.

    Raises:
        RankprobeError: no finished run of the probe on wrong labels.
    """
    needs = "finished runs of the probe on true labels and, with --control shuffle-labels, on wrong labels"
    command = "rankprobe sweep experiments/controls.toml"
    runs = require_runs(_probes(frames), "controls", needs, command)
    runs = name_curves(frames, runs.assign(control=runs["control"].fillna("none")), "control")
    n_controls = runs.groupby(["model_label", "data_label", "curve"])["control"].transform("nunique")
    runs = require_runs(runs[n_controls > 1], "controls", needs, command)
    runs = name_curves(frames, runs, "control")
    parts = [part for _, part in runs.groupby("model_label", sort=False)]
    points = []
    with style(look) as sizes:
        figure, all_axes = panels(len(parts), sizes)
        for axes, part in zip(all_axes, parts, strict=True):
            points += _draw_tasks(axes, part)
        finish_figure(figure, sizes, seeds_note(points, "bar"))
        fit_row_labels(figure, all_axes, sizes)
    return attach_run_ids(figure, runs["run_id"])


def _probes(frames: Frames) -> pd.DataFrame:
    runs = finished_runs(frames, "n_positive")
    return runs[runs["method"] == "probe"].reindex(columns=list(dict.fromkeys([*runs, *SIGN_COLUMNS])))


def _draw_tasks(axes: Axes, runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Draw a row per task, or per task and curve if there are several curves; return the points."""
    rows = list(runs.groupby(["data_label", "curve"]))
    has_settings = runs["curve"].nunique() > 1
    present = [control for control in DOTS if (runs["control"] == control).any()]
    twins = twin_columns(runs, "n_positive")
    marks = [("n_positive", control, DOTS[control], i) for i, control in enumerate(present)]
    for kind, column in twins.items():  # all twins are on one line
        label = twin_label([kind]) if len(twins) == 1 else TWINS[kind]
        mark = {"label": label, "color": TWIN_COLOUR, "marker": TWIN_MARKERS[kind]}
        marks.append((column, "none", mark, len(present)))
    all_points = []
    for column, control, mark, i in marks:
        offset = DOT_DISTANCE * (i - len(present) / 2)
        for row, (_, part) in enumerate(rows):
            points = curve_points(part[(part["control"] == control) & part[column].notna()], value=column)
            draw_dots(axes, [row + offset] * len(points), points, vertical=False, **mark)
            all_points.append(points)
    axes.axvline(runs[SIGN_COLUMNS].sum(axis=1).max(), label="all entries", **BASELINE_LINE)
    axes.set_yticks(range(len(rows)), [_row_label(part.iloc[0], has_settings) for _, part in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set(title=runs["model_label"].iloc[0], xlabel=COUNT_LABEL)
    return all_points


def _row_label(run: pd.Series, has_settings: bool) -> str:
    names = [run["data_label"], run["curve"]] if has_settings else [run["data_label"]]
    return "\n".join(textwrap.fill(str(name), LABEL_LETTERS) for name in names)
