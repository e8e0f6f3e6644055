"""What the numbers mean: rank measures with their nulls, the paper's tables, and findings in words.

readings   every measure of prompt matrices, with its nulls: `analyze`
findings   sentences about one run, or about runs that differ only in their seed
compared   the readings of runs next to each null, with verdicts and calibration
tables     the paper's tables from logged runs; `blocks` makes the rows of one model, `choose` selects runs
draws      the place of one run among many twins of it
used       a table of functional ranks
atlas      readings of many prompts by model and task, and what prompts of a model share
card       the model card of an exported prompt
sources    finds prompt files, and names the public collection, model and task of each
render     a table as text: terminal, Markdown, LaTeX, CSV
"""

from rankprobe.reports.atlas import Atlas, atlas, atlas_table
from rankprobe.reports.card import CITATION, model_card
from rankprobe.reports.compared import (
    CALIBRATED,
    calibrated_method,
    calibration_text,
    compared,
    differences,
    pooled_verdicts,
)
from rankprobe.reports.findings import CAVEAT, findings
from rankprobe.reports.readings import analyze, read_matrices
from rankprobe.reports.render import FORMATS, cell_text, render
from rankprobe.reports.sources import load_sources
from rankprobe.reports.tables import PAPER_TABLES, SCORES, Table
from rankprobe.reports.used import used

TABLES = {**PAPER_TABLES, "used": used}
"""The tables of `rankprobe table` by name. Each function takes frames and gives a `Table`."""

__all__ = [
    "CALIBRATED",
    "CAVEAT",
    "CITATION",
    "FORMATS",
    "SCORES",
    "TABLES",
    "Atlas",
    "Table",
    "analyze",
    "atlas",
    "atlas_table",
    "calibrated_method",
    "calibration_text",
    "cell_text",
    "compared",
    "differences",
    "findings",
    "load_sources",
    "model_card",
    "pooled_verdicts",
    "read_matrices",
    "render",
]
