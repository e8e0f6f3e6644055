"""Defaults that depend on other settings: where the rows come from."""

from __future__ import annotations

from pathlib import Path

from rankprobe.bundled import BACKBONES, FOLDER
from rankprobe.tasks import TASKS

TOKENIZER = "tokenizer.json"


def names_its_files(task: str) -> bool:
    """Whether a task is one of the user's own or of a plugin."""
    return task not in TASKS or bool(TASKS[task].files)


def default_data(task: str, model: str) -> str | None:
    """The default of `data`: `bundled`, `hub`, or None for a task that names its own files.

    `bundled` (the miniature tasks) is the default only for the bundled backbones, for model folders with
    their tokenizer, and for random weights. Any other model is a pretrained one, and gets the real task.
    """
    if names_its_files(task):
        return None
    own = model in BACKBONES or model.startswith("random:") or _has_bundled_tokenizer(Path(model))
    return "bundled" if own else "hub"


def _has_bundled_tokenizer(folder: Path) -> bool:
    """Whether a model folder has the tokenizer of the bundled backbones."""
    theirs, ours = folder / TOKENIZER, FOLDER / BACKBONES[0] / TOKENIZER
    try:
        return theirs.stat().st_size == ours.stat().st_size and theirs.read_bytes() == ours.read_bytes()
    except OSError:
        return False
