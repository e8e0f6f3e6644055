"""Finish a figure: wrap the titles of its panels, and add one legend below the panels."""

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

from rankprobe.plots.marks import BASELINE_LABEL, FUNCTIONAL_RANK_LABEL, PAPER_LABEL, PAPER_LINE, RING, STAR
from rankprobe.plots.style import BASELINE_LINE, Look

LAST_ENTRIES: dict[str, dict[str, Any]] = {
    BASELINE_LABEL: BASELINE_LINE,
    FUNCTIONAL_RANK_LABEL: RING | {"color": "#555555"},
    PAPER_LABEL: STAR | PAPER_LINE | {"color": "#555555"},
}
"""Last entries of a legend, with their marks. They are grey because they apply to all methods."""

TITLE_LINES = 2
"""Lines of a title for which the height of a panel has space."""

JOINED = "\u00a0=\u00a0"
"""An equals sign at which a title is not broken."""

SHORT_NAME = 6
"""Up to this many letters, a tick label (a number) does not make the title narrower."""

HEADLINE_LETTERS = 0.85
"""Letters of a bold text in the width of one letter of plain text."""

HANDLE_WIDTH, ENTRY_HEIGHT = 0.6, 0.19
"""Width of an entry's mark and its margins, and height of a line of the legend, in inches."""


def seeds_note(points: Iterable[pd.DataFrame], range_mark: str = "band") -> str:
    """The number of seeds in frames from `curve_points`, and the name of the mark that shows their range."""
    counts = pd.concat([part["n_seeds"] for part in points])
    least, most = int(counts.min()), int(counts.max())
    if most == 1:
        return "one seed"
    return f"mean of {most if least == most else f'{least} to {most}'} seeds, {range_mark}: least to greatest"


def finish_figure(
    figure: Figure,
    look: Look,
    note: str = "",
    handles: Sequence[Artist] | None = None,
    methods: Iterable[str] = (),
    headline: str = "",
) -> Legend:
    """Wrap titles, add the legend with `note` above its entries, and enlarge the figure to fit both.

    Args:
        figure: with all its panels drawn.
        look: the look in which it was drawn.
        note: a text about all panels.
        handles: the legend's entries; None: one entry per label in the panels.
        methods: the order of these labels, by method. Labels of no method follow.
        headline: what the figure is about; written above the panels of a figure that stands alone.
    """
    width = figure.get_figwidth()
    n_lines = _wrap_titles(figure, look)
    if headline and look.alone:
        wrapped = textwrap.fill(headline, int(width * look.letters * HEADLINE_LETTERS))
        figure.suptitle(wrapped, fontweight="bold", fontsize="medium")
        n_lines += 1 + len(wrapped.splitlines())
    entries = _panel_handles(figure, methods) if handles is None else list(handles)
    names = [textwrap.fill(str(e.get_label()), int((width - HANDLE_WIDTH) * look.letters)) for e in entries]
    max_length = max((len(line) for name in names for line in name.splitlines()), default=1)
    n_columns = max(1, min(len(entries), int(width / (max_length / look.letters + HANDLE_WIDTH))))
    note = textwrap.fill(note, int(width * look.letters), break_on_hyphens=False)
    legend = figure.legend(entries, names, loc="outside lower center", ncols=n_columns, title=note)
    legend.get_title().set_multialignment("center")
    for text in figure.findobj(Text):
        text.set_linespacing(look.spacing)  # pyright: ignore[reportAttributeAccessIssue]
    legend_lines = -(-sum(len(name.splitlines()) for name in names) // n_columns) + len(note.splitlines())
    figure.set_figheight(figure.get_figheight() + look.line * n_lines + ENTRY_HEIGHT * legend_lines)
    return legend


def _panel_handles(figure: Figure, methods: Iterable[str]) -> list[Artist]:
    """One handle per label in the panels: curves in the order of `methods`, other labels, `LAST_ENTRIES`."""
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, artist)
    order = {method: i for i, method in enumerate(methods)}
    labels = sorted(handles, key=lambda label: order.get(label.partition(",")[0], len(order)))
    first = [handles[label] for label in labels if label not in LAST_ENTRIES]
    last = [Line2D([], [], label=label, **mark) for label, mark in LAST_ENTRIES.items() if label in handles]
    return first + last


def _wrap_titles(figure: Figure, look: Look) -> int:
    """Wrap titles to the width of their panels; return the sum over rows of lines beyond `TITLE_LINES`."""
    n_lines: dict[int, int] = {}
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is None:
            continue
        width = int(figure.get_figwidth() / place.get_gridspec().ncols * look.letters * 0.92)
        if (row_names := _longest_line(axes.get_yticklabels())) > SHORT_NAME:
            width -= row_names
        wrapped = [
            piece.replace(JOINED, " = ")  # a setting stays on one line with its value
            for line in axes.get_title().replace(" = ", JOINED).splitlines()
            for piece in textwrap.wrap(line, width) or [""]
        ]
        axes.set_title("\n".join(wrapped))
        row = place.rowspan.start
        n_lines[row] = max(n_lines.get(row, 0), len(wrapped))
    return sum(max(0, count - TITLE_LINES) for count in n_lines.values())


def _longest_line(labels: Iterable[Text]) -> int:
    lines = [line for label in labels for line in label.get_text().splitlines()]
    return max(map(len, lines), default=0)
