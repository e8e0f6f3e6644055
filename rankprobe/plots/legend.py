"""The last strokes of a figure: titles that fit their panels, and one legend below all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text

from rankprobe.plots.marks import FUNCTIONAL, PAPER, PAPER_LINE, RING, STAR
from rankprobe.plots.style import MAJORITY, METHODS, Look

LAST: dict[str, dict[str, Any]] = {
    "majority": MAJORITY,
    FUNCTIONAL: RING | {"color": "#555555"},
    PAPER: STAR | PAPER_LINE | {"color": "#555555"},
}
"""What stands at the end of a legend, in no method's colour."""

TITLE = 2
"""Lines of a panel's title that its height has room for."""

HANDLE, LINE = 0.6, 0.19
"""Inches: what stands before the name in an entry of a legend, and the height of a line of it."""


def seeds(points: Iterable[pd.DataFrame], drawn: str = "band") -> str:
    """What a reader must know of the seeds behind curves or dots."""
    counts = pd.concat([each["n_seeds"] for each in points])
    least, most = int(counts.min()), int(counts.max())
    if most == 1:
        return "one seed"
    return f"mean of {most if least == most else f'{least} to {most}'} seeds, {drawn}: least to greatest"


def finish(figure: Figure, look: Look, note: str = "", handles: Sequence[Artist] | None = None) -> Legend:
    """Wrap titles, put the legend below all panels with `note` over it, and make room for both.

    Args:
        figure: all of it drawn.
        look: it is drawn in.
        note: what a reader must know of all panels.
        handles: of the legend; unset: every label of the panels, once.
    """
    width = figure.get_figwidth()
    extra = _wrap_titles(figure, look)
    entries = _labelled(figure) if handles is None else list(handles)
    names = [textwrap.fill(str(each.get_label()), int((width - HANDLE) * look.letters)) for each in entries]
    longest = max((len(line) for name in names for line in name.splitlines()), default=1)
    across = max(1, min(len(entries), int(width / (longest / look.letters + HANDLE))))
    note = textwrap.fill(note, int(width * look.letters))
    legend = figure.legend(entries, names, loc="outside lower center", ncols=across, title=note)
    legend.get_title().set_multialignment("center")
    for text in figure.findobj(Text):
        text.set_linespacing(look.spacing)  # pyright: ignore[reportAttributeAccessIssue]
    lines = -(-sum(len(name.splitlines()) for name in names) // across) + len(note.splitlines())
    figure.set_figheight(figure.get_figheight() + look.line * extra + LINE * lines)
    return legend


def _labelled(figure: Figure) -> list[Artist]:
    found: dict[str, Artist] = {}
    for axes in figure.axes:
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, artist)
    order = {method: i for i, method in enumerate(METHODS)}
    own = sorted(found, key=lambda label: order.get(label.partition(",")[0], len(order)))
    first = [found[label] for label in own if label not in LAST]
    return first + [Line2D([], [], label=label, **mark) for label, mark in LAST.items() if label in found]


def _wrap_titles(figure: Figure, look: Look) -> int:
    """Titles no wider than their panels; how many lines more than usual the rows of panels need for that."""
    lines: dict[int, int] = {}
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is None:
            continue
        room = int(figure.get_figwidth() / place.get_gridspec().ncols * look.letters * 0.92)
        wrapped = [
            piece for line in axes.get_title().splitlines() for piece in textwrap.wrap(line, room) or [""]
        ]
        axes.set_title("\n".join(wrapped))
        row = place.rowspan.start
        lines[row] = max(lines.get(row, 0), len(wrapped))
    return sum(max(0, each - TITLE) for each in lines.values())
