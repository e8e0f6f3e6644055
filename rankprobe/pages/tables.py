"""Tables for a page: cells as text with a value to sort by, and the same table in LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import pandas as pd

from rankprobe.reports import Table, cell_text, render


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and a number to sort by; None: it is sorted by its text."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class PageTable:
    """A table as the template needs it.

    Attributes:
        id: unique in the page.
        caption: what the numbers mean.
        columns: name of each column, and whether it has numbers.
        groups: a heading (empty: none) and its rows of cells.
        notes: what else a reader must know.
        latex: the same table in LaTeX; empty: none is offered.
        sortable: rows can be sorted and filtered.
    """

    id: str
    caption: str
    columns: list[tuple[str, bool]]
    groups: list[tuple[str, list[list[Cell]]]]
    notes: list[str] = field(default_factory=list)
    latex: str = ""
    sortable: bool = False

    @property
    def count(self) -> int:
        return sum(len(rows) for _, rows in self.groups)


def page_table(table: Table, id: str, *, sortable: bool = False, latex: bool = True) -> PageTable:
    """Prepare a table for a page.

    Args:
        table: the table. Its heading columns become headings of groups of rows.
        id: unique in the page.
        sortable: rows can be sorted and filtered; only for tables without headings.
        latex: offer the table in LaTeX.
    """
    columns = table.frame.drop(columns=list(table.heading))
    groups: list[tuple[str, list[list[Cell]]]] = []
    headings = table.frame[list(table.heading)].astype(str).agg(", ".join, axis=1) if table.heading else None
    for i, row in enumerate(columns.astype(object).to_numpy().tolist()):
        heading = "" if headings is None else str(headings.iloc[i])
        if not groups or groups[-1][0] != heading:
            groups.append((heading, []))
        groups[-1][1].append([Cell(cell_text(value), _number(value)) for value in row])
    numeric = [
        _all_numbers(cells) for cells in zip(*(row for _, rows in groups for row in rows), strict=True)
    ]
    names = [
        (str(name), right) for name, right in zip(columns, numeric or [False] * len(columns.T), strict=True)
    ]
    source = render(table, "latex") if latex and len(table.frame) else ""
    return PageTable(id, table.caption, names, groups, table.notes, source, sortable)


def data_table(frame: pd.DataFrame, id: str, caption: str) -> PageTable:
    """The data of a panel of a figure; numbers have up to five digits."""
    rows = [[Cell(_short(value)) for value in row] for row in frame.astype(object).to_numpy().tolist()]
    columns = [(str(name), i > 0) for i, name in enumerate(frame)]
    return PageTable(id, caption, columns, [("", rows)])


def _all_numbers(cells: Sequence[Cell]) -> bool:
    """Whether all cells of a column start with a number, as `57.3 ± 4.0` does; they are not wrapped."""
    return all(cell.text == "-" or cell.text.lstrip("-−")[:1].isdigit() for cell in cells)


def _short(value: Any) -> str:
    if isinstance(value, Real) and not isinstance(value, bool):
        return "" if math.isnan(value) else f"{float(value):.5g}"
    return str(value)


def _number(value: Any) -> float | None:
    is_real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_real else None
