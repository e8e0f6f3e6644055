"""Describe a figure in words, for readers who do not see it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

MAX_DESCRIBED = 12
"""Panels that a description names; it counts the others."""


def series_of(figure: Figure) -> dict[str, str]:
    """The colour of each curve that the figure names, as `#rrggbb`, and its name.

    Curves have names in the legend, or at their ends, with a line of the curve's colour to the name. Curves
    of one colour share an entry: `a; b`.
    """
    found: dict[str, list[str]] = {}
    for legend in figure.legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            if isinstance(handle, Line2D):
                found.setdefault(to_hex(handle.get_color()), []).append(one_line(text.get_text()))
    for axes in figure.axes:
        for text in axes.texts:
            if isinstance(text, Annotation) and text.arrow_patch is not None:
                colour = to_hex(text.arrow_patch.get_edgecolor())
                found.setdefault(colour, []).append(str(text.get_label()))
    return {colour: "; ".join(dict.fromkeys(labels)) for colour, labels in found.items()}


def drawn_panels(figure: Figure) -> list[Axes]:
    """The panels of a figure that are not empty places of its grid."""
    return [axes for axes in figure.axes if axes.axison]


def colour_of(artist: Line2D | Collection) -> str | None:
    """The colour of a curve or an area as `#rrggbb`; None if it has several."""
    if isinstance(artist, Line2D):
        return to_hex(artist.get_color())
    for colours in (artist.get_facecolor(), artist.get_edgecolor()):
        if len(colours):
            return to_hex(colours[0][:3])  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]
    return None


def alt_text(figure: Figure) -> tuple[str, str]:
    """A title and a description: what is drawn over what, the panels, the entries of the legend."""
    panels = drawn_panels(figure)
    if not panels:
        return "empty figure", "No panels."
    axes_texts = list(dict.fromkeys(filter(None, map(_over, panels))))
    title = "; ".join(axes_texts) or "figure"
    named = [one_line(panel.get_title()) for panel in panels if panel.get_title()]
    parts = [f"{len(panels)} panel{'s' if len(panels) > 1 else ''}"]
    if named:
        more = f", and {len(named) - MAX_DESCRIBED} more" if len(named) > MAX_DESCRIBED else ""
        parts.append("; ".join(named[:MAX_DESCRIBED]) + more)
    labels = list(series_of(figure).values())
    if labels:
        parts.append("curves and marks: " + "; ".join(labels))
    for legend in figure.legends:
        if note := " ".join(legend.get_title().get_text().split()):
            parts.append(note)
    return title, ". ".join(f"{part[0].upper()}{part[1:]}" for part in parts) + "."


def one_line(text: str) -> str:
    """A text without its line breaks: its lines separated by commas."""
    return ", ".join(line.strip().rstrip(",") for line in str(text).splitlines() if line.strip())


def _over(panel: Axes) -> str:
    x, y = one_line(panel.get_xlabel()), one_line(panel.get_ylabel())
    return f"{y} over {x}" if x and y else x or y
