"""Scores over the bottleneck of DPT: the paper's Figures 5 and 10, and 8, 13 and 14."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankprobe.plots.curves import PANEL, Score, beside, longest, named, points, scored
from rankprobe.plots.groups import signed
from rankprobe.plots.legend import finish, seeds
from rankprobe.plots.marks import compact, lines, log_axis, majority, score_label
from rankprobe.plots.panels import panels, taller
from rankprobe.plots.scores import PAPER_BOTTLENECK, each_panel, or_error, scores_over, title
from rankprobe.plots.style import style
from rankprobe.runs import Frames

LABEL = "bottleneck b"

MARKS = {"mean": ("average", "D"), "max": ("greatest", "^"), "min": ("least", "v")}

CROWDED = 0.2
"""Where ticks of an axis are nearer than this share of its length, their texts stand upright."""

UPRIGHT = 0.6
"""Inches that upright texts take from the height of a panel."""


def fig5(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Score over the bottleneck of DPT, a panel per task, rows of panels per model.

    Source: Xiao et al. (2023), Figure 5 (and 10). Methods without a bottleneck are horizontal lines, of the
    same prompt length and number of training rows; the probe, which is for measuring, is left out.

    Raises:
        RankprobeError: no finished run of dpt.
    """
    runs = scored(frames, score)
    or_error(_dpt(runs), "fig5", "finished runs of dpt", "rankprobe sweep experiments/fig5_bottleneck.toml")
    runs = longest(frames, runs[runs["method"] != "probe"], "bottleneck")
    runs = named(frames, beside(runs, "bottleneck", "prompt_length", "shots"), "bottleneck")
    return scores_over(runs, "bottleneck", LABEL, PAPER_BOTTLENECK, score, look)


def fig8(frames: Frames, *, score: Score = "last", look: str = "screen") -> Figure:
    """Average, least and greatest score of the seeds over large bottlenecks, with what each trains.

    Source: Xiao et al. (2023), Figure 8 (and 13, 14). A panel per task and model in which some b is larger
    than the prompt is long; b from 10, the paper's, on.

    Raises:
        RankprobeError: no finished run of dpt with a bottleneck beyond its prompt length.
    """
    runs = _dpt(scored(frames, score))
    runs = runs[runs["bottleneck"] >= PAPER_BOTTLENECK]
    beyond = (runs["bottleneck"] > runs["prompt_length"]).groupby([runs[name] for name in PANEL])
    runs = runs[beyond.transform("any")]
    needs = "finished runs of dpt with a bottleneck b beyond the prompt length n"
    or_error(runs, "fig8", needs, "rankprobe sweep experiments/fig8_large_bottlenecks.toml")
    runs = named(frames, longest(frames, runs, "bottleneck"), "bottleneck")
    found = [part for row in each_panel(runs) for part in row]
    drawn = []
    with style(look) as page:
        figure, grid = panels(len(found), page)
        for axes, part in zip(grid, found, strict=True):
            drawn.append(_spread(axes, part))
            axes.set(title=title(part), ylabel=score_label(part["metric"], score))
        finish(figure, page, seeds(drawn, "marks"))
        if any(label.get_rotation() for axes in grid for label in axes.get_xticklabels()):
            taller(figure, grid, UPRIGHT)
    return signed(figure, runs["run_id"])


def _dpt(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["method"] == "dpt"]


def _spread(axes: Axes, runs: pd.DataFrame) -> pd.DataFrame:
    """Three marks at each b, the averages joined by a line; the points drawn."""
    found = points(runs, "bottleneck")
    for line, part in lines(found):
        for column, (label, marker) in MARKS.items():
            mark: dict[str, Any] = {"marker": marker, "label": f"{line['label']}, {label}"}
            if column != "mean":
                mark |= {"linestyle": "none", "markerfacecolor": "white"}
            axes.plot(part["x"], part[column], **line | mark)
    majority(axes, runs["majority"].dropna())
    trained = runs.groupby("bottleneck")["trainable_parameters"].first()
    log_axis(axes.xaxis, axes.set_xscale, trained.index)
    places = np.log10(np.asarray(axes.get_xticks()))
    crowded = len(places) > 1 and np.diff(places).min() < CROWDED * (places[-1] - places[0])
    between = ": " if crowded else "\n"
    axes.set_xticks(
        axes.get_xticks(),
        [f"{b:,g}{between}{compact(trained[b])}" for b in axes.get_xticks()],
        rotation=90 if crowded else 0,
    )
    axes.set_xlabel("bottleneck b, and trained parameters")
    return found
