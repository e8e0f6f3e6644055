"""The command replicate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankprobe.cli.lines import progress_console
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.measure import TABLE_FORMATS, Output, check_output, save_table
from rankprobe.cli.options import Run, RunsDir, option
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.studies.replicate import Replication


@with_json("replicate")
def replicate(
    run: Run,
    pairs: Annotated[int, option("--pairs", "Pairs of each kind", default=3, metavar="INT", min=2)] = 3,
    disjoint: Annotated[
        bool, option("--disjoint", "Train the runs of a pair on disjoint halves of the rows", metavar="")
    ] = False,
    output: Output = None,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Count the directions in which independent trainings of a run agree.

    Trains four runs per pair, in the folder 'replicates' of the run: pairs with the same start, pairs with
    different starts, and pairs with shuffled labels.
    Call it again to continue, or to add pairs: finished replicates are kept.
    """
    from rankprobe.cli.progress import RunProgress, continued_by_the_command
    from rankprobe.runs import find_run
    from rankprobe.studies.replicate import CAUTION, check_run
    from rankprobe.studies.replicate import replicate as replicate_run

    check_output(output, TABLE_FORMATS)
    trained = find_run(run, runs_dir)
    check_run(trained, pairs)
    with continued_by_the_command(), RunProgress(progress_console(), several=True) as progress:
        result = replicate_run(trained, pairs=pairs, disjoint=disjoint, hooks=[progress])
    data, rows = trained.manifest["data"]["label"], "disjoint halves of the rows" if disjoint else "all rows"
    files = [output] if output else []
    for path in files:
        save_table(result.pairs, path)

    def show() -> None:
        typer.echo(
            plain(f"{trained.id}: reproducible rank of dP, {data}, {rows}, {pairs} pairs of each kind")
        )
        typer.echo(format_replication(result))
        for path in files:
            typer.echo(plain(path))

    about = {"run_id": trained.id, "path": trained.path, "disjoint": disjoint}
    found = {"pairs": result.pairs, "summary": result.summary, "verdict": result.verdict, "caution": CAUTION}
    return Result({**about, **found, "files": files}, show)


def format_replication(result: Replication) -> str:
    """A line per kind of pairs, then the verdict and the caution."""
    from rankprobe.studies.grid import known_ranges, least_agreement
    from rankprobe.studies.replicate import CAUTION, KINDS

    least = least_agreement(known_ranges())
    agreement = result.pairs.groupby("kind")["agreement"].mean()
    summary = {(row["kind"], row["reading"]): row for row in result.summary.to_dict("records")}
    lines = []
    for kind in KINDS:
        row, edge = summary[kind, "cv_rank"], summary[kind, "replicate_edge"]
        outside = agreement[kind] < least
        lines.append(
            f"{kind:<17} {row['mean']:.1f} ({row['low']:.1f} to {row['high']:.1f}); "
            f"above the edge of noise {edge['mean']:.1f}; agreement {agreement[kind]:.2f}"
            f"{f', outside its calibration (below {least:.2f})' if outside else ''}"
        )
    return "\n".join([*lines, f"same start against shuffled labels: {result.verdict}", CAUTION])
