"""Write figures as PNG, SVG and PDF, with a JSON file that lists the runs they were drawn from."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from rankprobe.plots.style import style
from rankprobe.plots.svg import svg_text
from rankprobe.runs import Frames
from rankprobe.runs.files import write_atomically, write_json

_NO_DATE: dict[str, dict[str, str | None]] = {".pdf": {"CreationDate": None}}
"""Metadata without a date, so that the same runs give the same bytes."""

_RUN_COLUMNS = ["run_id", "status", "seed", "method", "data_label", "model_label", "step", "total_steps"]


def attach_run_ids(figure: Figure, run_ids: Iterable[str]) -> Figure:
    """Record the runs that a figure was drawn from, for `save`. Returns the same figure.

    The ids are kept in the figure's label (`Figure.set_label`), one per line.
    """
    figure.set_label("\n".join(dict.fromkeys(map(str, run_ids))))
    return figure


def save(figure: Figure, name: str, frames: Frames, folder: str | Path, look: str = "screen") -> list[Path]:
    """Write `<name>.png`, `<name>.svg`, for the look `paper` also `<name>.pdf`, and `<name>.json`.

    The JSON file lists the runs that `attach_run_ids` recorded.

    Args:
        figure: drawn in `look`.
        name: name of the files, without ending.
        frames: the frames from which the figure was drawn.
        folder: folder of the files; created if it does not exist.
        look: `screen` or `paper`.

    Returns:
        The paths written; the JSON file is the last.
    """
    pictures = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg", *(["pdf"] * (look == "paper")))]
    for path in pictures:
        save_figure(figure, path, look)
    drawn = frames.runs[frames.runs["run_id"].isin(str(figure.get_label()).split("\n"))]
    runs = drawn[_RUN_COLUMNS].astype(object).to_dict("records")
    provenance = Path(folder) / f"{name}.json"
    write_json(provenance, {"figure": name, "look": look, "rankprobe": version("rankprobe"), "runs": runs})
    return [*pictures, provenance]


def save_figure(figure: Figure, path: Path, look: str = "screen") -> None:
    """Write a figure to `path` atomically; the ending of `path` gives the format.

    An SVG has a title and a description for readers who do not see it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        write_atomically(path, svg_text(figure, re.sub(r"[^a-z0-9]+", "-", path.stem.lower()), look).encode())
        return
    content = io.BytesIO()
    with style(look):
        figure.savefig(content, format=path.suffix[1:], metadata=_NO_DATE.get(path.suffix, {}))
    write_atomically(path, content.getvalue())
