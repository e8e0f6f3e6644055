"""Format tables as text: terminal, Markdown, LaTeX (booktabs), or CSV."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import pandas as pd
from tabulate import tabulate

from rankprobe.errors import unknown
from rankprobe.reports.tables import Table
from rankprobe.text import latex, markdown, plain

STYLES = {"terminal": "simple", "markdown": "pipe", "latex": "latex_raw"}
"""Our names of the formats, and tabulate's."""

ESCAPE = {"terminal": plain, "markdown": markdown, "latex": latex}
"""The function that escapes text for each format, so that it is shown literally."""

BOOKTABS_RULES = {1: "\\toprule", 3: "\\midrule", -2: "\\bottomrule"}
"""The rules of booktabs, by the number of the line that each one replaces in a LaTeX table."""

FORMATS = (*STYLES, "csv")
"""The formats of `render`: what `--format` of `rankprobe table` takes."""


def render(table: Table, format: str = "terminal") -> str:
    """Return the table as text that ends with a newline.

    CSV has only the frame, without caption and notes, and an empty cell where the other formats have `-`.
    LaTeX is a `table` environment that needs the package booktabs.

    Raises:
        RankprobeError: an unknown format.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if format == "csv":
        return table.frame.to_csv(index=False, float_format="%.2f")
    grid, escape = _grid(table, format), ESCAPE[format]
    if format == "latex":
        caption = escape(" ".join([table.caption, *(f"{note}." for note in table.notes)]))
        return f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n{grid}\n\\end{{table}}\n"
    notes = [f"- {escape(note)}" if format == "markdown" else escape(note) for note in table.notes]
    return "\n\n".join([escape(table.caption), grid, *(["\n".join(notes)] if notes else [])]) + "\n"


def _grid(table: Table, format: str) -> str:
    """The rows as aligned columns, with a heading above each group of rows."""
    columns = table.frame.drop(columns=list(table.heading))
    escape = ESCAPE[format]
    values = columns.astype(object).to_numpy().tolist()
    cells = [[escape(cell_text(value)) for value in row] for row in values]
    headers = [escape(name) for name in columns]
    if format == "terminal":
        headers = [name.replace(" ", "\n") for name in headers]
    align = ["right" if _is_number(column) else "left" for _, column in columns.items()]
    lines = tabulate(cells, headers, STYLES[format], colalign=align, disable_numparse=True).split("\n")
    if format == "latex":
        for line, rule in BOOKTABS_RULES.items():
            lines[line] = rule
    last_lines = 2 if format == "latex" else 0
    start = len(lines) - last_lines - len(cells)
    headings = _headings(table, format, len(headers))
    body = [line for i in range(len(cells)) for line in (*headings.get(i, []), lines[start + i])]
    return "\n".join([*lines[:start], *body, *lines[start + len(cells) :]])


def _headings(table: Table, format: str, n_columns: int) -> dict[int, list[str]]:
    """The lines to print above the first row of each group, by the number of this row."""
    headings: dict[int, list[str]] = {}
    names = table.frame[list(table.heading)].to_numpy().tolist() if table.heading else []
    previous = None
    for i, name in enumerate(names):
        if name != previous:
            text = ESCAPE[format](", ".join(map(str, name))).strip()
            if format == "latex":
                rule = ["\\midrule"] if i else []
                headings[i] = [*rule, f"\\multicolumn{{{n_columns}}}{{l}}{{{text}}} \\\\"]
            elif format == "markdown":
                headings[i] = [f"| **{text}** {'| ' * (n_columns - 1)}|"]
            else:
                headings[i] = ["", text] if i else [text]
        previous = name
    return headings


def cell_text(value: Any) -> str:
    """A cell as text, not escaped: two decimals, `-` for a missing value."""
    if value is None or value is pd.NA or value != value:
        return "-"
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_number(column: pd.Series) -> bool:
    # `trained` has text such as 77K in the paper's rows.
    return pd.api.types.is_numeric_dtype(column) or column.name == "trained"
