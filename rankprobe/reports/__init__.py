"""What it means: prompts and runs in, readings beside their nulls, tables, and words that follow out."""

from rankprobe.reports.capacity import capacity, d90
from rankprobe.reports.readings import analyze, read_matrices
from rankprobe.reports.render import FORMATS, render
from rankprobe.reports.tables import SCORES, TABLES, Table
from rankprobe.reports.words import findings

__all__ = [
    "FORMATS",
    "SCORES",
    "TABLES",
    "Table",
    "analyze",
    "capacity",
    "d90",
    "findings",
    "read_matrices",
    "render",
]
