"""`python -m rankprobe.studies` prints the tables of the docs that no command of `rankprobe` prints."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from rankprobe.errors import RankprobeError
from rankprobe.studies import grid, needed_calibration, null_size
from rankprobe.studies.distillation import RANKS
from rankprobe.text import plain_lines

app = typer.Typer(
    help="Print the tables of the docs that no command of rankprobe prints. Each takes many minutes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
SEEDS = [0, 1, 2]
NEEDED_COLUMNS = ["rank", "seed", "gain", "needed", "healed", "scratch", "used", "cut", "tested", "refused"]


@app.command("grid")
def print_grid() -> None:
    """How often `cv_rank` is near the planted rank.

    The number of seeds, of ten, in which it is within two.
    """
    trained = grid.calibrate_grid(
        spectra=("equal",), snrs=(0.2, 0.1), seeds=range(10), null_seeds=4, pairs_only=True
    )
    typer.echo(grid.shares_within(pd.concat(trained)).to_string())


@app.command("stress")
def print_stress() -> None:
    """Weak planted directions at two learning rates.

    Least, median and largest `cv_rank` and functional rank.
    """
    for rate, updates in ((0.3, 1000), (0.03, 3000)):
        cells = grid.stress(updates, rate).groupby(["noise", "planted"], sort=False)
        table = cells[["cv_rank", "functional"]].agg(["min", "median", "max"])
        typer.echo(f"learning rate {rate}, {updates} steps\n{table.to_string()}\n")


@app.command("null-size")
def print_null_size() -> None:
    """How often verdicts are wrong on noise.

    And how often they find an effect.
    """
    runs = null_size.null_runs([*null_size.KINDS, "noisy AR(0.9)", *null_size.PULLS])
    typer.echo(null_size.report(runs))


@app.command("needed")
def print_needed(
    runs_dir: Annotated[Path, typer.Argument(help="Folder for the runs of the teachers.")],
    data: Annotated[str, typer.Argument(help="A folder of tasks, or bundled-500.")],
    seed: Annotated[list[int], typer.Option(help="Of the teachers; give it again for more.")] = SEEDS,
) -> None:
    """The needed rank of imitating known teachers.

    As CSV; a line when a teacher is done.
    """
    for i, (each, r) in enumerate(itertools.product(seed, RANKS)):
        frame = needed_calibration.calibrate_needed(ranks=[r], seeds=[each], data=data, runs_dir=runs_dir)
        table = frame.reindex(columns=NEEDED_COLUMNS)
        typer.echo(table.to_csv(index=False, header=not i, float_format="%.1f"), nl=False)


if __name__ == "__main__":
    try:
        app()
    except RankprobeError as error:
        typer.echo(f"error: {plain_lines(error)}", err=True)
        sys.exit(error.exit_code)
