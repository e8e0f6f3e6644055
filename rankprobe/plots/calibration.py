"""How well readings recover a planted rank: the frame of `training.calibrate`, drawn."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from rankprobe.errors import RankprobeError
from rankprobe.plots.style import style

GROUPS = {
    "counts": ("n_positive", "{}_numerical_rank", "{}_rank_rtol_1e2"),
    "shape of the spectrum": ("{}_erank_rv", "{}_participation_ratio", "{}_stable_rank", "{}_energy_95"),
    "beyond an edge of noise": (
        "{}_gavish_donoho",
        "{}_mp_edge",
        "{}_permutation_edge",
        "{}_above_twin",
    ),
    "kept gain in the objective": ("{}_functional", "{}_functional_best"),
}
"""Readings drawn together; {} is the matrix the rank was planted in, P or dP."""

PALETTE = (("#0b3c6f", "o"), ("#c2571a", "s"), ("#2a7f62", "^"), ("#8b6bb1", "D"))
"""Colour and marker of the first reading of a panel, the second, and so on."""

PANEL = (3.1, 2.5)
"""Inches."""

DODGE = 1.05
"""Neighbouring curves of a panel are this factor apart, so that equal ones do not hide each other."""

SETTING = ("method", "gate", "planted_in", "noise", "learning_rate", "steps")


def calibration(frame: pd.DataFrame) -> Figure:
    """Recovered over planted rank: a row per setting of the frame, a column per group of readings.

    A curve is the mean over seeds, bars go from least to greatest; seeds on which a reading is undefined are
    left out, and the legend says how many matrices are left. The shaded band of the same colour is what the
    reading says of noise alone (the rows with planted rank 0), least to greatest. On the diagonal a reading
    is right; inside its band it says no more than noise does.

    Args:
        frame: of `training.calibrate`; filter it to draw fewer rows.

    Raises:
        RankprobeError: no row has a planted rank above 0.
    """
    if frame.empty or not (frame["planted"] > 0).any():
        raise RankprobeError("a calibration figure needs a planted rank above 0, and the frame has none")
    settings = list(frame.groupby(list(SETTING), sort=False))
    with style():
        figure, grid = plt.subplots(
            len(settings),
            len(GROUPS),
            figsize=(PANEL[0] * len(GROUPS), PANEL[1] * len(settings) + 0.9),
            layout="constrained",
            squeeze=False,
            sharex=True,
            sharey=True,
        )
        plt.close(figure)  # the caller owns it; pyplot shall not keep it open
        for row, (key, part) in zip(grid, settings, strict=True):
            setting: dict[str, Any] = dict(zip(map(str, SETTING), key, strict=True))
            for axes, (group, names) in zip(row, GROUPS.items(), strict=True):
                _panel(axes, part, [name.format(setting["planted_in"]) for name in names])
                axes.set_title(group)
            row[0].set_ylabel(f"{_name(setting)}\nrecovered rank")
        for axes in grid[-1]:
            axes.set_xlabel("planted rank")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), fontsize=8)
        figure.suptitle(_title(frame), fontsize=10)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, names: list[str]) -> None:
    most = part["planted"].max()
    axes.plot(
        [0, most], [0, most], color="#777777", linewidth=0.8, linestyle=":", label="recovered = planted"
    )
    defined = False
    for i, (name, (colour, marker)) in enumerate(zip(names, PALETTE, strict=False)):
        own = part[part["reading"] == name]
        values = own.groupby("planted")["recovered"].agg(["mean", "min", "max"]).dropna()
        noise, values = values[values.index == 0], values[values.index > 0]
        for low, high in zip(noise["min"], noise["max"], strict=True):
            axes.axhspan(low, high, color=colour, alpha=0.15, linewidth=1.5, zorder=0)
            defined = True
        at = values.index * DODGE ** (i - (len(names) - 1) / 2)
        axes.vlines(at, values["min"], values["max"], color=colour, linewidth=1)
        line = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1}
        axes.plot(at, values["mean"], label=_label(name, own[own["planted"] > 0]), **line)
    if (part["planted"] == 0).any() and not defined:
        axes.text(0.95, 0.06, "of noise alone: undefined", transform=axes.transAxes, ha="right", fontsize=8)
    _rank_scales(axes, part.loc[part["planted"] > 0, "planted"].min(), most)


def _label(name: str, own: pd.DataFrame) -> str:
    """The reading, with the share of matrices it is defined for where that is not all of them."""
    defined = int(own["recovered"].notna().sum())
    return name if defined == len(own) else f"{name} (defined for {defined} of {len(own)})"


def _rank_scales(axes: Axes, least: int, most: int) -> None:
    """Logarithmic from 1 on and with a zero, on both axes."""
    for scale, axis in ((axes.set_xscale, axes.xaxis), (axes.set_yscale, axes.yaxis)):
        scale("symlog", linthresh=1)
        axis.set_ticks([t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= 2 * most])
        axis.set_major_formatter(ScalarFormatter())
        axis.minorticks_off()
    axes.set_xlim(0.85 * least, 1.15 * most)
    axes.set_ylim(-0.2, 1.6 * most)


def _name(setting: dict[str, Any]) -> str:
    gate = f", {setting['gate']}" if setting["gate"] else ""
    return f"{setting['method']}{gate}, lr {setting['learning_rate']:g}, noise {setting['noise']:g}"


def _title(frame: pd.DataFrame) -> str:
    seeds = frame["seed"].nunique()
    steps = ", ".join(f"{each:g}" for each in frame["steps"].unique())
    where = " and ".join("ΔP" if each == "dP" else each for each in frame["planted_in"].unique())
    return (
        f"Planted matrices, no backbone: rank planted in {where}; {steps} steps, {seeds} seeds\n"
        "curves: mean, bars: least to greatest; shaded: the same reading of noise alone, nothing planted"
    )
