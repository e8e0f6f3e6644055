"""The command report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankprobe.cli.complete import run_ids
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import RunsDir, option
from rankprobe.text import plain


@with_json("report")
def report(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run ids, run folders, or folders of runs; unset: all runs",
            show_default=False,
            autocompletion=run_ids,
        ),
    ] = None,
    output: Annotated[
        Path, option("--output", "The HTML file", default="report.html", metavar="FILE")
    ] = Path("report.html"),
    words: Annotated[
        bool, option("--words", "Load the model to list the words nearest to the prompt", metavar="")
    ] = False,
    watch: Annotated[
        bool, option("--watch", "Write it again while a run goes on; the page reloads itself", metavar="")
    ] = False,
    every: Annotated[
        int, option("--every", "Seconds between two writings with --watch", default=10, metavar="INT", min=1)
    ] = 10,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Write a report of runs as one HTML file, to read and to share.

    It has the findings in words, every reading next to its nulls, figures and tables.
    It needs no network and no other file. Up to six groups of seeds are shown in full, more in tables.
    """
    from rankprobe.pages import report as write_report

    path = write_report(
        run or str(runs_dir),
        output,
        runs_dir=runs_dir,
        words=words,
        watch=every if watch else None,
        on_write=lambda path: typer.echo(plain(path)),
    )
    return Result({"files": [path]})
