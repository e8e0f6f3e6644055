"""Write a report of runs as one HTML file."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.pages.banner import facts, warnings_of
from rankprobe.pages.details import detail, title_of
from rankprobe.pages.overview import overview
from rankprobe.pages.render import GENERATOR, render_page
from rankprobe.pages.subjects import Place, Subjects, subjects
from rankprobe.reports import CITATION, pooled_verdicts
from rankprobe.runs.files import write_atomically

MAX_DETAILED = 6
"""Groups of seeds that have sections of their own; a report of more groups has tables and figures only."""


def report(
    runs: Place | Sequence[Place] = "runs",
    output: str | Path = "report.html",
    *,
    runs_dir: str | Path = "runs",
    words: bool = False,
    watch: float | None = None,
    on_write: Callable[[Path], None] | None = None,
) -> Path:
    """Write a report of runs as one HTML file, which needs no network and no other file.

    The same runs give the same bytes. Up to six groups of runs that differ only in their seed have sections
    of their own; more are compared in tables.

    Args:
        runs: a run, an id, a run folder, a folder of runs, or a sequence of these.
        output: the file. A file that is not a report is not replaced.
        runs_dir: the folder of runs that are given by id.
        words: load the models to list the words nearest to the prompts. The bundled models are loaded in any
            case.
        watch: write the report again after this many seconds until no run is being trained; the page reloads
            itself from disk. None: write it once.
        on_write: called with the path after each writing.

    Returns:
        The path of the file.

    Raises:
        RankprobeError: a run does not exist or none can be read, two runs have the same id, `output` exists
            and is not a report, or `watch` is not above zero.
    """
    path = Path(output)
    places = [runs] if not isinstance(runs, Sequence) or isinstance(runs, str) else list(runs)
    if watch is not None and not watch > 0:
        raise RankprobeError(f"watch is {watch}; expected a number of seconds above zero")
    _check_output(path)
    while True:
        found = subjects(places, runs_dir)
        going_on = watch is not None and any(run.status == "running" for run in found.runs)
        content = _page(found, _command(places, path, runs_dir), words, watch if going_on else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode())
        if on_write:
            on_write(path)
        if not going_on or watch is None:
            return path
        time.sleep(watch)


def _check_output(path: Path) -> None:
    """Refuse to replace a file that is not a report.

    Raises:
        RankprobeError: there is such a file, or a folder.
    """
    if path.is_dir():
        raise RankprobeError(f"'{path}' is a folder; give a file, such as --output report.html")
    if path.exists() and GENERATOR.encode() not in path.read_bytes()[:4096]:
        raise RankprobeError(f"'{path}' exists and is not a report; choose another name")


def _page(found: Subjects, command: str, words: bool, refresh: float | None) -> str:
    results = pooled_verdicts(found.groups)
    detailed = len(found.groups) <= MAX_DETAILED
    pairs = list(enumerate(zip(found.groups, results, strict=True), start=1)) if detailed else []
    several = len(found.runs) > 1 or bool(found.damaged)
    about = title_of(found.groups[0]) if len(found.groups) == 1 else f"{len(found.runs)} runs"
    return render_page(
        title=about,
        facts=facts(found.runs),
        warnings=warnings_of(found.runs),
        overview=overview(found, results) if several else None,
        details=[detail(runs, own, f"g{i}", words=words, caveats=len(pairs) > 1) for i, (runs, own) in pairs],
        max_detailed=MAX_DETAILED,
        command=command,
        bibtex=CITATION,
        refresh=refresh,
    )


def _command(places: Sequence[Place], path: Path, runs_dir: str | Path) -> str:
    """The command that writes this report."""
    words = [str(getattr(place, "path", place)) for place in places]
    where = ["--runs-dir", str(runs_dir)] if Path(runs_dir) != Path("runs") else []
    return shlex.join(["rankprobe", "report", *words, *where, "--output", str(path)])
