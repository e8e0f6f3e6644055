"""Singular values over their index, beside what stands out of noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from rankprobe.plots.legend import finish
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style
from rankprobe.rank import permutation_edge, singular_values
from rankprobe.text import plain

EDGES = (("#c2571a", "--"), ("#2a7f62", ":"))
"""Colour and line of the permutation edge and of the Marchenko–Pastur edge."""


def spectra(named: Sequence[tuple[str, NDArray[np.generic]]], *, look: str = "screen") -> Figure:
    """One panel per matrix: s over index, log scale, with the permutation and Marchenko–Pastur edges.

    Values above an edge are more than the largest that entries in random order (dashed), or white noise of
    the same norm (dotted), would give.

    Args:
        named: pairs of a title and a matrix (n, d).
        look: `screen` or `paper`.
    """
    with style(look) as page:
        figure, grid = panels(len(named), page)
        for axes, (title, matrix) in zip(grid, named, strict=True):
            s, (n, d) = singular_values(matrix), matrix.shape
            white = np.sqrt(np.square(s).sum() / (n * d)) * (np.sqrt(n) + np.sqrt(d))
            shown = np.where(s > 0, s, np.nan)
            axes.semilogy(np.arange(1, len(s) + 1), shown, ".", color="#0b3c6f", markersize=3)
            edges = {"permutation edge": permutation_edge(matrix), "Marchenko–Pastur edge": white}
            for (label, edge), (colour, line) in zip(edges.items(), EDGES, strict=True):
                if edge > 0:
                    axes.axhline(edge, color=colour, linestyle=line, linewidth=1, label=label)
            for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                set_formatter(LogFormatter())  # that of the scale writes in math, which a style leaves alone
            axes.set(title=plain(title), xlabel="index i", ylabel="singular value s")
        finish(figure, page)
    return figure
