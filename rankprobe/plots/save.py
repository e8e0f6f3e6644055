"""Figures on disk: PNG, SVG and PDF, and the provenance of the runs they were drawn from."""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from rankprobe.plots.style import style
from rankprobe.runs import Frames
from rankprobe.runs.files import write_atomically, write_json

_UNDATED: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""No date inside, so that the same runs give the same bytes."""

_PROVENANCE = [
    "run_id",
    "status",
    "seed",
    "method",
    "data_label",
    "model_label",
    "step",
    "total_steps",
]


def save(figure: Figure, name: str, frames: Frames, folder: str | Path, look: str = "screen") -> list[Path]:
    """Write `<name>.png`, `.svg`, of the paper look `.pdf` too, and `.json`, which names the runs drawn.

    Args:
        figure: drawn in `look`.
        name: of the files.
        frames: it was drawn from.
        folder: made if there is none.
        look: `screen` or `paper`.

    Returns:
        The paths written, the provenance last.
    """
    pictures = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg", *(["pdf"] * (look == "paper")))]
    for path in pictures:
        save_figure(figure, path, look)
    drawn = frames.runs[frames.runs["run_id"].isin(str(figure.get_label()).split("\n"))]
    runs = drawn[_PROVENANCE].astype(object).to_dict("records")
    provenance = Path(folder) / f"{name}.json"
    write_json(provenance, {"figure": name, "look": look, "rankprobe": version("rankprobe"), "runs": runs})
    return [*pictures, provenance]


def save_figure(figure: Figure, path: Path, look: str = "screen") -> None:
    """Write a figure to `path`, in the format of its ending, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    with style(look):
        figure.savefig(content, format=path.suffix[1:], metadata=_UNDATED.get(path.suffix, {}))
    write_atomically(path, content.getvalue())
