"""Frames in, figures out: each function returns a matplotlib Figure. Nothing here trains or reads a model."""

from rankprobe.plots.emergence import FIGURES, fig3, fig9
from rankprobe.plots.groups import Group, groups
from rankprobe.plots.save import save

__all__ = ["FIGURES", "Group", "fig3", "fig9", "groups", "save"]
