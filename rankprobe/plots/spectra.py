"""Singular values of matrices, with those of copies with random signs, and two edges of noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from rankprobe.plots.legend import finish_figure
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style
from rankprobe.rank import FLIPS, gram_singular_values, permutation_edge, signflipped, singular_values
from rankprobe.text import plain

EDGE_LINES = (("#c2571a", "--"), ("#2a7f62", ":"))
"""Colour and line style of the permutation edge and of the Marchenko–Pastur edge."""

NULL_COLOUR, NULL_LABEL = "#9a9a9a", f"with random signs: mean, range of {FLIPS} copies"
"""Colour and label of the sign-flip null."""


def spectra(matrices: Sequence[tuple[str, Num[np.ndarray, "_n _d"]]], *, look: str = "screen") -> Figure:
    """Singular values s over their index, log scale: a panel per matrix, with its null and two edges.

    The grey line is the sign-flip null: the mean of 20 copies with random signs, in the range of the copies.
    They keep the sizes of entries, rows and columns; `rank.signflip_edge` says what this is a null of.
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
            positive, index = np.where(s > 0, s, np.nan), np.arange(1, len(s) + 1)
            null = gram_singular_values(signflipped(matrix, FLIPS))
            null = np.where(null > 0, null, np.nan)
            axes.fill_between(index, null.min(0), null.max(0), color=NULL_COLOUR, alpha=0.3, linewidth=0)
            axes.semilogy(index, null.mean(0), "-", color=NULL_COLOUR, linewidth=1, label=NULL_LABEL)
            axes.semilogy(index, positive, ".", color="#0b3c6f", markersize=3)
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
