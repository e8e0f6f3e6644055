"""The command track."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankprobe.cli.complete import run_ids, tracker_names
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import RunsDir, option
from rankprobe.text import plain

ReportTo = Annotated[
    str | None,
    option(
        "--report-to",
        "Report while training to tensorboard, wandb, mlflow, trackio; several with commas",
        metavar="NAMES",
        complete=tracker_names,
    ),
]


@with_json("track")
def track(
    run: Annotated[
        list[str],
        typer.Argument(help="Run ids, run folders, or folders of runs", autocompletion=run_ids),
    ],
    to: Annotated[
        str,
        option(
            "--to",
            "tensorboard, wandb, mlflow, trackio; several with commas",
            metavar="NAMES",
            complete=tracker_names,
        ),
    ],
    follow: Annotated[
        bool, option("--follow", "Go on until the runs end, with runs that are being trained", metavar="")
    ] = False,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Send runs to experiment trackers: readings with those of the twins, scores, settings, and the report.

    A run gets the same values as with --report-to while it is trained. Give the command again to send what
    was added since then: a tracker that has the run already gets the steps that it lacks.
    """
    from rankprobe.runs import runs_at
    from rankprobe.trackers import track as send
    from rankprobe.trackers import tracking_error

    results = send([found for place in run for found in runs_at(place, runs_dir)], to, follow=follow)

    def show() -> None:
        for row in results:
            if row.error is None:
                steps = f"{row.n_sent} steps sent" if row.n_sent else "nothing to send"
                typer.echo(plain(f"{row.run_id}  {row.tracker}  {steps}  {row.place}"))

    return Result({"tracked": results}, show, tracking_error(results))
