"""The task. Its rows are in the package."""

from __future__ import annotations

from pathlib import Path

from rankprobe.tasks import Task

ROWS = Path(__file__).parent / "rows"

EVENNESS = Task(
    name="evenness",
    folder="evenness",
    title="Evenness",
    template="number: {number}",
    long_field="number",
    truncation_side="right",
    labels=("even", "odd"),
    metrics=("accuracy",),
    files={"train": ROWS / "train.jsonl", "validation": ROWS / "val.jsonl"},
)
