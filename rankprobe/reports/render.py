"""Tables as text: for the terminal, Markdown, LaTeX (booktabs), and CSV."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import pandas as pd
from tabulate import tabulate

from rankprobe.errors import unknown
from rankprobe.reports.tables import Table
from rankprobe.text import latex, markdown, plain

STYLES = {"terminal": "simple", "markdown": "pipe", "latex": "latex_raw"}
"""Our formats, and tabulate's names of them."""

LITERAL = {"terminal": plain, "markdown": markdown, "latex": latex}
"""How text is written in each, so that it is shown as it is."""

RULES = {1: "\\toprule", 3: "\\midrule", -2: "\\bottomrule"}
"""The rules of booktabs, by their line in a LaTeX table."""

FORMATS = (*STYLES, "csv")


def render(table: Table, format: str = "terminal") -> str:
    """The table as text, ending in a newline.

    CSV has the frame alone, with an empty cell where the others have `-`. LaTeX is a `table` environment and
    needs the package booktabs.

    Raises:
        RankprobeError: no such format.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if format == "csv":
        return table.frame.to_csv(index=False, float_format="%.2f")
    grid, literal = _grid(table, format), LITERAL[format]
    if format == "latex":
        caption = literal(" ".join([table.caption, *(f"{note}." for note in table.notes)]))
        return f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n{grid}\n\\end{{table}}\n"
    notes = [f"- {literal(note)}" if format == "markdown" else literal(note) for note in table.notes]
    return "\n\n".join([literal(table.caption), grid, *(["\n".join(notes)] if notes else [])]) + "\n"


def _grid(table: Table, format: str) -> str:
    """The rows in columns, each group below its heading."""
    shown = table.frame.drop(columns=list(table.heading))
    literal = LITERAL[format]
    cells = [[literal(_cell(value)) for value in row] for row in shown.astype(object).to_numpy().tolist()]
    headers = [literal(name) for name in shown]
    if format == "terminal":
        headers = [name.replace(" ", "\n") for name in headers]
    align = ["right" if _is_number(column) else "left" for _, column in shown.items()]
    style = STYLES[format]
    lines = tabulate(cells, headers, style, colalign=align, disable_numparse=True).split("\n")
    if format == "latex":
        for line, rule in RULES.items():
            lines[line] = rule
    tail = 2 if format == "latex" else 0
    start = len(lines) - tail - len(cells)
    above = _headings(table, format, len(headers))
    body = [line for i in range(len(cells)) for line in (*above.get(i, []), lines[start + i])]
    return "\n".join([*lines[:start], *body, *lines[start + len(cells) :]])


def _headings(table: Table, format: str, width: int) -> dict[int, list[str]]:
    """The lines above the first row of each group, by the row's number."""
    found: dict[int, list[str]] = {}
    names = table.frame[list(table.heading)].to_numpy().tolist() if table.heading else []
    before = None
    for i, name in enumerate(names):
        if name != before:
            text = LITERAL[format](", ".join(map(str, name))).strip()
            if format == "latex":
                rule = ["\\midrule"] if i else []
                found[i] = [*rule, f"\\multicolumn{{{width}}}{{l}}{{{text}}} \\\\"]
            elif format == "markdown":
                found[i] = [f"| **{text}** {'| ' * (width - 1)}|"]
            else:
                found[i] = ["", text] if i else [text]
        before = name
    return found


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return "-"
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_number(column: pd.Series) -> bool:
    # What is trained stands as 77K in the paper's rows.
    return pd.api.types.is_numeric_dtype(column) or column.name == "trained"
