"""Figures on disk: PNG and SVG, and the provenance of the runs they were drawn from."""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from rankprobe.plots.style import style
from rankprobe.runs import Frames
from rankprobe.runs.files import write_atomically, write_json

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


def save(figure: Figure, name: str, frames: Frames, folder: str | Path) -> list[Path]:
    """Write `<name>.png`, `<name>.svg` and `<name>.json`, which names the runs drawn; returns the paths."""
    paths = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg", "json")]
    for path in paths[:2]:
        save_figure(figure, path)
    drawn = frames.runs[frames.runs["run_id"].isin(str(figure.get_label()).splitlines())]
    runs = drawn[_PROVENANCE].astype(object).to_dict("records")
    write_json(paths[2], {"figure": name, "rankprobe": version("rankprobe"), "runs": runs})
    return paths


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, in the format of its ending, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    with style():
        figure.savefig(content, format=path.suffix[1:], metadata=_undated(path))
    write_atomically(path, content.getvalue())


def _undated(path: Path) -> dict[str, str | None]:
    """No date inside, so that the same runs give the same bytes."""
    return {"Date": None} if path.suffix == ".svg" else {}
