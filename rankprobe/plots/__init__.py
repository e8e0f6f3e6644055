"""Frames in, figures out: each function returns a matplotlib Figure. Nothing here trains or reads a model."""

from rankprobe.plots.averages import fig1, fig4
from rankprobe.plots.bottleneck import fig5, fig8
from rankprobe.plots.calibration import calibration
from rankprobe.plots.emergence import fig3, fig9
from rankprobe.plots.groups import Group, groups
from rankprobe.plots.lengths import fig6, fig7
from rankprobe.plots.nulls import controls, grid
from rankprobe.plots.save import save, save_figure
from rankprobe.plots.spectra import spectra
from rankprobe.plots.style import LOOKS, style
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
}
"""What `rankprobe plot` can draw from logged runs; the paper's by its numbers. Each takes `look=`."""

OF_ONE_RUN = ("fig3", "fig9", "truncation")
"""Those that say something of a single run; the others compare runs, and an experiment says which."""

ALIASES = {"fig10": "fig5", "fig11": "fig6", "fig12": "fig7", "fig13": "fig8", "fig14": "fig8"}
"""The paper's figures that are another one on another model: one function draws a panel of each."""

__all__ = [
    "ALIASES",
    "FIGURES",
    "LOOKS",
    "OF_ONE_RUN",
    "Group",
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
    "groups",
    "length",
    "save",
    "save_figure",
    "spectra",
    "style",
    "truncation",
    "used",
]
