"""Draw figures from frames. Each function returns a matplotlib Figure; none trains or loads a model.

Figures: averages (fig1, fig4), emergence (fig3, fig9), bottleneck (fig5, fig8), lengths (fig6, fig7),
truncation, task_rank, nulls (grid, controls), used (used, length), calibration, spectra, atlas,
over_training (scores, spectra).
Shared parts: curves (from runs to points), groups (from runs to panels), scores and marks (what a panel
draws), panels and legend (layout), style, save; alt (a figure in words), svg and inline (a figure in a page).
of_run has the figures of one run, `run.plot`.
"""

from rankprobe.plots.atlas import atlas
from rankprobe.plots.averages import fig1, fig4
from rankprobe.plots.bottleneck import fig5, fig8
from rankprobe.plots.calibration import calibration
from rankprobe.plots.emergence import fig3, fig9, ranks
from rankprobe.plots.groups import Group, group_runs
from rankprobe.plots.inline import InlineFigure, inline
from rankprobe.plots.lengths import fig6, fig7
from rankprobe.plots.nulls import controls, grid
from rankprobe.plots.of_run import RunPlots
from rankprobe.plots.over_training import scores, spectra_over_steps
from rankprobe.plots.save import save, save_figure
from rankprobe.plots.spectra import spectra
from rankprobe.plots.style import LOOKS, style
from rankprobe.plots.task_rank import taskrank
from rankprobe.plots.truncation import truncation
from rankprobe.plots.used import length, used

FIGURES = {
    "fig1": fig1,
    "fig3": fig3,
    "fig4": fig4,
    "fig5": fig5,
    "fig6": fig6,
    "fig7": fig7,
    "fig8": fig8,
    "fig9": fig9,
    "truncation": truncation,
    "grid": grid,
    "controls": controls,
    "used": used,
    "length": length,
    "taskrank": taskrank,
}
"""The figures that `rankprobe plot` draws from logged runs; fig1 to fig9 are numbered as in the paper.

Each function takes frames and `look=`.
"""

OF_ONE_RUN = ("fig3", "fig9", "truncation")
"""Figures that are informative for a single run. The others compare the runs of an experiment."""

ALIASES = {"fig10": "fig5", "fig11": "fig6", "fig12": "fig7", "fig13": "fig8", "fig14": "fig8"}
"""Figures of the paper that repeat another figure for another model. One function draws all models."""

__all__ = [
    "ALIASES",
    "FIGURES",
    "LOOKS",
    "OF_ONE_RUN",
    "Group",
    "InlineFigure",
    "RunPlots",
    "atlas",
    "calibration",
    "controls",
    "fig1",
    "fig3",
    "fig4",
    "fig5",
    "fig6",
    "fig7",
    "fig8",
    "fig9",
    "grid",
    "group_runs",
    "inline",
    "length",
    "ranks",
    "save",
    "save_figure",
    "scores",
    "spectra",
    "spectra_over_steps",
    "style",
    "taskrank",
    "truncation",
    "used",
]
