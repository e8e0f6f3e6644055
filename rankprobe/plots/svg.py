"""SVG that can stand in a page with others: unique ids, no style attributes, a title and a description."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from matplotlib.figure import Figure

from rankprobe.plots.alt import alt_text
from rankprobe.plots.style import style

SVG = "http://www.w3.org/2000/svg"

SERIES = "series-"
"""Prefix of the gid of an artist that belongs to an entry of the legend; it becomes `data-series`."""

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
GEOMETRY = ("d", "x", "y", "width", "height", "transform", "viewBox", "stroke-width", "stroke-dasharray")
"""Attributes whose numbers are rounded to hundredths of a point."""

DROPPED_ELEMENTS = ("metadata", "style")


def svg_text(figure: Figure, prefix: str, look: str = "screen") -> str:
    """Draw a figure as one `<svg>` element.

    The same figure gives the same text. Ids start with `prefix`. Styles are attributes, so that a page can
    forbid inline styles. `role="img"`, `<title>` and `<desc>` name the figure.

    Args:
        figure: drawn in `look`.
        prefix: letters, digits and hyphens; unique in the page.
        look: `screen` or `paper`.
    """
    raw = io.BytesIO()
    with style(look):
        figure.savefig(raw, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(raw.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if _local(child.tag) in DROPPED_ELEMENTS:
                parent.remove(child)
    used = {match for element in root.iter() for match in _references(element)}
    family = ""
    for element in root.iter():
        element.tag = _local(element.tag)
        family = _plain_attributes(element, prefix, used) or family
        if element.tag != "text":
            element.text = None
        element.tail = "\n" if element.tag in ("g", "path") else None
    title, description = alt_text(figure)
    root.attrib = {
        "xmlns": SVG,
        **{name: value for name, value in root.attrib.items() if name in ("width", "height", "viewBox")},
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-desc",
        "font-family": family or "sans-serif",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    for tag, text in (("desc", description), ("title", title)):
        element = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        element.text = text
        root.insert(0, element)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _references(element: ElementTree.Element) -> Iterator[str]:
    """The ids that an element refers to."""
    for name, value in element.attrib.items():
        if _local(name) == "href":
            yield value.removeprefix("#")
        else:
            yield from re.findall(r"url\(#([^)]+)\)", value)


def _plain_attributes(element: ElementTree.Element, prefix: str, used: set[str]) -> str:
    """Rewrite the attributes of an element in place; return the font of a text, or an empty text."""
    attributes, family = {}, ""
    for full_name, text in element.attrib.items():
        name, value = _local(full_name), text
        if name == "style":
            rules = dict(rule.strip().split(": ", 1) for rule in value.split(";") if ": " in rule)
            family = rules.pop("font-family", "")
            attributes |= rules
            continue
        if name == "id":
            if value.startswith(SERIES):
                attributes["data-series"] = value.removeprefix(SERIES)
            if value not in used:
                continue
            value = f"{prefix}-{value}"
        elif name == "href":
            value = f"#{prefix}-{value.removeprefix('#')}"
        value = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", value)
        attributes[name] = value
    for name in GEOMETRY:
        if name in attributes:
            attributes[name] = " ".join(NUMBER.sub(_rounded, attributes[name]).split())
    element.attrib = attributes
    return family


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
