"""Is it rank, or is it noise? The probe's count beside its nulls: noise twins and shuffled labels. Ours."""

from __future__ import annotations

import textwrap
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import finished, longest, named, on_true_labels, points
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import curve, dots, from_zero, lines, log_axis
from rankprobe.plots.panels import panels, room_for_rows
from rankprobe.plots.scores import each_panel, or_error, title
from rankprobe.plots.style import COLOURS, MAJORITY, RUN, TWIN, style
from rankprobe.runs import Frames

COUNT = "positive entries of σ, last step"

MARKERS = ("o", "s", "^", "D")

SIGNS = ["n_positive", "n_negative", "n_zero"]

DOTS: dict[str, dict[str, str]] = {
    "none": {"label": "true labels", "color": "#0b3c6f", "marker": "o"},
    "shuffle-labels": {"label": "labels of other rows", "color": "#c2571a", "marker": "s"},
    "random-labels": {"label": "random labels", "color": "#e8b54a", "marker": "D"},
    "twin": {"label": "noise twin", "color": "#9a9a9a", "marker": "^"},
}
"""Label, colour and mark of the probe by what it was trained on."""

LETTERS = 36
"""In a line of a row's name, at most."""

ASIDE = 0.2
"""Between the dots of one task, where tasks are 1 apart."""


def grid(frames: Frames, *, look: str = "screen") -> Figure:
    """Final count of positive entries over the learning rate, a curve per initial diagonal.

    A panel per task and model. Solid: the run; dashed and lighter: its noise twin.

    Raises:
        RankprobeError: no finished run of the probe.
    """
    runs = on_true_labels(_probes(frames))
    or_error(runs, "grid", "finished runs of the probe", "rankprobe sweep experiments/sigma_grid.toml")
    runs = named(frames, longest(frames, runs, "learning_rate"), "learning_rate")
    found = [part for row in each_panel(runs) for part in row]
    drawn = []
    with style(look) as page:
        figure, axes_of = panels(len(found), page)
        for axes, part in zip(axes_of, found, strict=True):
            drawn += _over_rate(axes, part)
            axes.set_title(title(part))
        finish(figure, page, seeds(drawn))
    return signed(figure, runs["run_id"])


def _over_rate(axes: Axes, runs: pd.DataFrame) -> list[pd.DataFrame]:
    drawn = []
    for value, line, of in (("n_positive", RUN, ""), ("twin_n_positive", TWIN, ", noise twin")):
        found = points(runs[runs[value].notna()], "learning_rate", value)
        for own, part in lines(found):
            colour, marker = _hue(int(part["variant"].iloc[0]))
            named_as = own["label"].removeprefix("probe, ") + of
            curve(axes, part, color=colour[value != "n_positive"], marker=marker, label=named_as, **line)
        drawn.append(found)
    log_axis(axes.xaxis, axes.set_xscale, runs["learning_rate"])
    from_zero(axes)
    axes.set(xlabel="peak learning rate", ylabel=COUNT)
    return drawn


def _hue(variant: int) -> tuple[tuple[str, str], str]:
    hues = zip(cycle(COLOURS.values()), cycle(MARKERS), strict=False)
    return next(hue for i, hue in enumerate(hues) if i == variant)


def controls(frames: Frames, *, look: str = "screen") -> Figure:
    """Final count of positive entries per task, on true labels and on wrong ones, beside the noise twin.

    A panel per model, a row per task that has a run on wrong labels; twins are of the runs on true labels.

    Raises:
        RankprobeError: no finished run of the probe on wrong labels.
    """
    runs = _probes(frames).assign(control=lambda each: each["control"].fillna("none"))
    runs = named(frames, runs, "control") if len(runs) else runs.assign(curve="")
    both = runs.groupby(["model_label", "data_label", "curve"])["control"].transform("nunique") > 1
    needs = "finished runs of the probe on true labels and, with --control shuffle-labels, on wrong ones"
    runs = or_error(runs[both], "controls", needs, "rankprobe sweep experiments/controls.toml")
    runs = named(frames, runs, "control")
    found = [part for _, part in runs.groupby("model_label", sort=False)]
    drawn = []
    with style(look) as page:
        figure, axes_of = panels(len(found), page)
        for axes, part in zip(axes_of, found, strict=True):
            drawn += _by_task(axes, part)
        finish(figure, page, seeds(drawn, "bar"))
        room_for_rows(figure, axes_of, page)
    return signed(figure, runs["run_id"])


def _probes(frames: Frames) -> pd.DataFrame:
    runs = finished(frames, "n_positive")
    return runs[runs["method"] == "probe"].reindex(columns=list(dict.fromkeys([*runs, *SIGNS])))


def _by_task(axes: Axes, runs: pd.DataFrame) -> list[pd.DataFrame]:
    """A row per task, and per setting where a task has several; the points drawn."""
    rows = list(runs.groupby(["data_label", "curve"]))
    several = runs["curve"].nunique() > 1
    shown = [kind for kind in DOTS if (runs["control"] == kind).any()]
    drawn = []
    for i, kind in enumerate([*shown, "twin"]):
        value, trained_on = ("twin_n_positive", "none") if kind == "twin" else ("n_positive", kind)
        aside = ASIDE * (i - len(shown) / 2)
        for row, (_, part) in enumerate(rows):
            own = part[(part["control"] == trained_on) & part[value].notna()]
            found = points(own, value=value)
            dots(axes, [row + aside] * len(found), found, upright=False, **DOTS[kind])
            drawn.append(found)
    axes.axvline(runs[SIGNS].sum(axis=1).max(), label="all entries", **MAJORITY)
    axes.set_yticks(range(len(rows)), [_row(part.iloc[0], several) for _, part in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set(title=runs["model_label"].iloc[0], xlabel=COUNT)
    return drawn


def _row(run: pd.Series, several: bool) -> str:
    names = [run["data_label"], run["curve"]] if several else [run["data_label"]]
    return "\n".join(textwrap.fill(str(name), LETTERS) for name in names)
