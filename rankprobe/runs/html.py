"""Runs and frames as HTML, for notebooks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rankprobe.errors import RankprobeError
from rankprobe.text import html
from rankprobe.twins import TWINS, twins_of

if TYPE_CHECKING:
    import pandas as pd

    from rankprobe.runs.folder import Run
    from rankprobe.runs.frames import Frames

READINGS = {
    "n_positive": "positive entries of σ",
    "P_numerical_rank": "numerical rank of P",
    "P_erank_rv": "effective rank of P",
}

RUN_COLUMNS = tuple("run_id status method data_label model_label seed step last best baseline".split())

MAX_ROWS = 20
"""Runs of frames that a notebook shows."""


def run_html(run: Run) -> str:
    """A table of a run: what it is of, status, scores next to the baseline, readings next to twins.

    A run that cannot be read gives the reason.
    """
    try:
        manifest, last, status = run.manifest, run.readings(), run.status
    except RankprobeError as error:
        return f"<p>{html(error)}</p>"
    progress = manifest["progress"]
    note = " (rankprobe's own, not SuperGLUE)" if manifest["data"]["source"] == "bundled" else ""
    random = " (random weights)" if manifest["backbone"]["random_weights"] else ""
    rows = {
        "run": f"{run.id}: {status} at step {progress.get('step')} of {progress.get('total_steps')}",
        "method": f"{manifest['config'].get('method')}, seed {manifest['config'].get('seed')}",
        "data": f"{manifest['data']['label']}{note}",
        "model": f"{manifest['backbone']['label']}{random}",
        f"dev {progress.get('metric', 'score')} (%)": _scores(progress),
    }
    rows |= {words: _reading(last, name) for name, words in READINGS.items() if last.get(name) is not None}
    cells = "".join(
        f"<tr><th scope='row'>{html(name)}</th><td>{html(text)}</td></tr>" for name, text in rows.items()
    )
    return f"<table><tbody>{cells}</tbody></table><p><code>{html(run.path)}</code></p>"


def frames_html(frames: Frames) -> str:
    """The number of rows of each frame, and the first runs."""
    counts = ", ".join(
        f"{name} {len(frame):,}"
        for name in ("runs", "steps", "spectra", "evals", "truncation")
        if (frame := getattr(frames, name)) is not None
    )
    return f"<p>Rows: {html(counts)}</p>{frame_html(frames.runs, RUN_COLUMNS)}"


def frame_html(frame: pd.DataFrame, columns: tuple[str, ...] | None = None) -> str:
    """The first rows of a frame as a table, with escaped text.

    Args:
        frame: any frame.
        columns: the columns to show, if present; None: all.
    """
    shown = frame if columns is None else frame[[name for name in columns if name in frame]]
    head = shown.head(MAX_ROWS)
    names = "".join(f"<th scope='col'>{html(name)}</th>" for name in head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html(_text(value))}</td>' for value in row)}</tr>"
        for row in head.astype(object).to_numpy().tolist()
    )
    more = f"<p>{len(shown) - MAX_ROWS:,} more rows</p>" if len(shown) > MAX_ROWS else ""
    return f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _scores(progress: Mapping[str, Any]) -> str:
    numbers = ((name, progress.get(name)) for name in ("last", "best", "baseline"))
    known = [f"{name} {value:.1f}" for name, value in numbers if value is not None]
    return ", ".join(known) or "not evaluated yet"


def _reading(last: Mapping[str, Any], name: str) -> str:
    """A reading with those of its noise twins in parentheses."""
    twins = [
        f"{TWINS[kind]} {_text(last[column])}"
        for kind, column in twins_of(last, name).items()
        if last[column] is not None
    ]
    return _text(last[name]) + (f" ({', '.join(twins)})" if twins else "")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return "-" if value is None or str(value) == "<NA>" else str(value)
