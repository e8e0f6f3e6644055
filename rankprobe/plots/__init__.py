"""Frames in, figures out: each function returns a matplotlib Figure. Nothing here trains or reads a model."""

from rankprobe.plots.calibration import calibration
from rankprobe.plots.emergence import fig3, fig9
from rankprobe.plots.groups import Group, groups
from rankprobe.plots.save import save, save_figure
from rankprobe.plots.spectra import spectra
from rankprobe.plots.truncation import truncation

FIGURES = {"fig3": fig3, "fig9": fig9, "truncation": truncation}
"""What `rankprobe plot` can draw from logged runs; the paper's by its numbers."""

__all__ = [
    "FIGURES",
    "Group",
    "calibration",
    "fig3",
    "fig9",
    "groups",
    "save",
    "save_figure",
    "spectra",
    "truncation",
]
