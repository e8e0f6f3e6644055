"""Singular values of matrices, with two edges; values below an edge can be noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from rankprobe.plots.legend import finish_figure
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style
from rankprobe.rank import permutation_edge, singular_values
from rankprobe.text import plain

EDGE_LINES = (("#c2571a", "--"), ("#2a7f62", ":"))
"""Colour and line style of the permutation edge and of the Marchenko–Pastur edge."""


def spectra(matrices: Sequence[tuple[str, Num[np.ndarray, "_n _d"]]], *, look: str = "screen") -> Figure:
    """Singular values s over their index, log scale: a panel per matrix, with two edges.

    The permutation edge (dashed) is the largest singular value to expect if the entries are in random order.
    The Marchenko–Pastur edge (dotted) is the largest to expect of white noise with the same Frobenius norm.

    Args:
        matrices: pairs of a title and a matrix.
        look: `screen` or `paper`.
    """
    with style(look) as sizes:
        figure, all_axes = panels(len(matrices), sizes)
        for axes, (title, matrix) in zip(all_axes, matrices, strict=True):
            s, (n, d) = singular_values(matrix), matrix.shape
            white_edge = np.sqrt(np.square(s).sum() / (n * d)) * (np.sqrt(n) + np.sqrt(d))
            positive = np.where(s > 0, s, np.nan)
            axes.semilogy(np.arange(1, len(s) + 1), positive, ".", color="#0b3c6f", markersize=3)
            edges = {"permutation edge": permutation_edge(matrix), "Marchenko–Pastur edge": white_edge}
            for (label, edge), (colour, line) in zip(edges.items(), EDGE_LINES, strict=True):
                if edge > 0:
                    axes.axhline(edge, color=colour, linestyle=line, linewidth=1, label=label)
            # The default formatter writes math, which text.parse_math disables.
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter())
            axes.set(title=plain(title), xlabel="index i", ylabel="singular value s")
        finish_figure(figure, sizes)
    return figure
