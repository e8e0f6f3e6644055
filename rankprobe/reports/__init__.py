"""What it means: prompts and runs in, readings beside their nulls out, and words that follow from them."""

from rankprobe.reports.capacity import capacity, d90
from rankprobe.reports.readings import analyze, read_matrices
from rankprobe.reports.words import findings

__all__ = ["analyze", "capacity", "d90", "findings", "read_matrices"]
