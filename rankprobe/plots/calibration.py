"""Draw the results of `studies.calibration.calibrate`: how well readings recover a planted rank."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from rankprobe.errors import RankprobeError
from rankprobe.plots.style import style

READING_GROUPS = {
    "counts": ("n_positive", "{}_numerical_rank", "{}_rank_rtol_1e2"),
    "shape of the spectrum": ("{}_erank_rv", "{}_participation_ratio", "{}_stable_rank", "{}_energy_95"),
    "beyond an edge of noise": ("{}_gavish_donoho", "{}_mp_edge", "{}_permutation_edge", "{}_above_twin"),
    "kept gain in the objective": ("{}_functional", "{}_functional_best"),
}
"""Readings that share a panel, by title. {} stands for the matrix with the planted rank, P or dP."""

READING_STYLES = (("#0b3c6f", "o"), ("#c2571a", "s"), ("#2a7f62", "^"), ("#8b6bb1", "D"))
"""Colour and marker of the first reading in a panel, the second, and so on."""

PANEL_SIZE = (3.1, 2.5)
"""Width and height of a panel, in inches."""

DODGE = 1.05
"""Horizontal factor between neighbouring curves of a panel, so that equal curves do not hide each other."""

SETTINGS = ("method", "gate", "orthonormal", "planted_in", "noise", "learning_rate", "steps")


def calibration(frame: pd.DataFrame) -> Figure:
    """Recovered rank over planted rank: a row per setting in the frame, a column per group of readings.

    A curve is the mean over seeds, with bars from minimum to maximum. Undefined readings are left out, and
    the legend gives the number of matrices that remain. The shaded band of the same colour is the range of
    the reading on noise alone (planted rank 0). A reading on the diagonal is correct; a reading inside its
    band is indistinguishable from noise.

    Args:
        frame: as `studies.calibration.calibrate` returns it; filter it to draw fewer settings.

    Raises:
        RankprobeError: no row has a planted rank above 0.
    """
    if frame.empty or not (frame["planted"] > 0).any():
        raise RankprobeError("a calibration figure needs a planted rank above 0, and the frame has none")
    settings = list(frame.groupby(list(SETTINGS), sort=False))
    drawn = {name.format(P) for names in READING_GROUPS.values() for name in names for P in ("P", "dP")}
    max_drawn = frame.loc[frame["reading"].isin(drawn), "recovered"].max()
    with style():
        figure, grid = plt.subplots(
            len(settings),
            len(READING_GROUPS),
            figsize=(PANEL_SIZE[0] * len(READING_GROUPS), PANEL_SIZE[1] * len(settings) + 0.9),
            layout="constrained",
            squeeze=False,
            sharex=True,
            sharey=True,
        )
        plt.close(figure)  # the caller owns the figure; pyplot must not keep it open
        for row, (key, part) in zip(grid, settings, strict=True):
            setting: dict[str, Any] = dict(zip(map(str, SETTINGS), key, strict=True))
            for axes, (title, names) in zip(row, READING_GROUPS.items(), strict=True):
                _draw_panel(axes, part, [name.format(setting["planted_in"]) for name in names])
                _set_rank_scales(axes, frame.loc[frame["planted"] > 0, "planted"], max_drawn)
                axes.set_title(title)
            row[0].set_ylabel(f"{_setting_label(setting)}\nrecovered rank")
        for axes in grid[-1]:
            axes.set_xlabel("planted rank")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), fontsize=8)
        figure.suptitle(_figure_title(frame), fontsize=10)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame, names: list[str]) -> None:
    max_rank = part["planted"].max()
    diagonal = {"color": "#777777", "linewidth": 0.8, "linestyle": ":", "label": "recovered = planted"}
    axes.plot([0, max_rank], [0, max_rank], **diagonal)
    noise_defined = False
    for i, (name, (colour, marker)) in enumerate(zip(names, READING_STYLES, strict=False)):
        rows = part[part["reading"] == name]
        values = rows.groupby("planted")["recovered"].agg(["mean", "min", "max"]).dropna()
        noise, values = values[values.index == 0], values[values.index > 0]
        for low, high in zip(noise["min"], noise["max"], strict=True):
            axes.axhspan(low, high, color=colour, alpha=0.15, linewidth=1.5, zorder=0)
            noise_defined = True
        x = values.index * DODGE ** (i - (len(names) - 1) / 2)
        axes.vlines(x, values["min"], values["max"], color=colour, linewidth=1)
        line = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1}
        axes.plot(x, values["mean"], label=_reading_label(name, rows[rows["planted"] > 0]), **line)
    if (part["planted"] == 0).any() and not noise_defined:
        axes.text(0.95, 0.06, "of noise alone: undefined", transform=axes.transAxes, ha="right", fontsize=8)


def _reading_label(name: str, rows: pd.DataFrame) -> str:
    """The name of a reading, with the number of matrices for which it is defined unless that is all."""
    n_defined = int(rows["recovered"].notna().sum())
    return name if n_defined == len(rows) else f"{name} (defined for {n_defined} of {len(rows)})"


def _set_rank_scales(axes: Axes, planted: pd.Series, max_drawn: float) -> None:
    """Make both axes linear from 0 to 1 and logarithmic above, up to the largest value."""
    top = max(planted.max(), max_drawn)
    for scale, axis, most in (
        (axes.set_xscale, axes.xaxis, planted.max()),
        (axes.set_yscale, axes.yaxis, top),
    ):
        scale("symlog", linthresh=1)
        axis.set_ticks([t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= 1.5 * most])
        axis.set_major_formatter(ScalarFormatter())
        axis.minorticks_off()
    axes.set_xlim(0.85 * planted.min(), 1.15 * planted.max())
    axes.set_ylim(-0.2, 1.6 * top)


def _setting_label(setting: dict[str, Any]) -> str:
    gate = f", {setting['gate']}" if setting["gate"] else ""
    factors = ", orthonormal" if setting["orthonormal"] else ""
    name = f"{setting['method']}{gate}{factors}"
    return f"{name}\nlr {setting['learning_rate']:g}, noise {setting['noise']:g}"


def _figure_title(frame: pd.DataFrame) -> str:
    seeds = frame["seed"].nunique()
    counted = f"{seeds} seed{'s' * (seeds != 1)}"
    steps = ", ".join(f"{count:g}" for count in frame["steps"].unique())
    matrices = " and ".join("ΔP" if name == "dP" else name for name in frame["planted_in"].unique())
    return (
        f"Planted matrices, no backbone: rank planted in {matrices}; {steps} steps, {counted}\n"
        "curves: mean, bars: least to greatest; shaded: the same reading of noise alone, nothing planted"
    )
