"""The command that prints the paper's tables from logged runs: table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankprobe.cli.complete import table_names
from rankprobe.cli.options import RunsDir, option
from rankprobe.errors import RankprobeError, unknown
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.runs import Frames

Format = Annotated[str, option("--format", "terminal, markdown, latex or csv", default="terminal")]
Score = Annotated[str, option("--score", "last, or best (by dev score, as in the paper)", default="last")]
Where = Annotated[
    list[str] | None,
    option("--where", "Only runs with this value: learning_rate=0.3; repeatable", metavar="SETTING=VALUE"),
]
Output = Annotated[Path | None, option("--output", "Write the table to this file", metavar="FILE")]


def table(
    name: Annotated[
        str, typer.Argument(help="table1, table2, table3, table4 or used", autocompletion=table_names)
    ],
    format: Format = "terminal",
    score: Score = "last",
    where: Where = None,
    output: Output = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Print a table of the paper from logged runs.

    table1: scores. table2: sizes of the splits. table3: deviations over seeds.
    table4: scores of residual prompts of 10 tokens.
    used (not in the paper): functional ranks over seeds, after rankprobe truncate.
    Comparable numbers of the paper are printed below ours.
    If --where names a setting twice, either value matches.
    """
    from rankprobe.runs.selection import frames_for

    frames, missing = frames_for(name, runs_dir)
    echo_missing(name, missing)
    print_table(frames, name, format, score, where, output)


def echo_missing(name: str, commands: list[str]) -> None:
    """Print the commands that train the missing runs of a figure or table."""
    for command in commands:
        typer.echo(plain(f"{name}: runs are missing; train them with: {command}"), err=True)


def print_table(
    frames: Frames,
    name: str,
    format: str = "terminal",
    score: str = "last",
    where: list[str] | None = None,
    output: Path | None = None,
) -> None:
    """Print a table of `frames`, or write it to `output`.

    Raises:
        RankprobeError: a name is unknown, `where` is malformed, `output` exists, or the runs do not give this
            table.
    """
    from rankprobe.reports import TABLES, render
    from rankprobe.runs.files import write_atomically

    if name not in TABLES:
        raise unknown("table", name, TABLES)
    if output is not None and output.exists():
        raise RankprobeError(f"'{output}' exists; choose another name")
    text = render(TABLES[name](frames, score, _parse_where(where or [])), format)
    if output is None:
        typer.echo(text, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, text.encode())
    typer.echo(plain(output))


def _parse_where(conditions: list[str]) -> dict[str, list[str]]:
    """Return each setting with the values it may have."""
    values: dict[str, list[str]] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not name or not equals or not value:
            raise RankprobeError(
                f"--where is '{condition}'; expected SETTING=VALUE, such as --where learning_rate=0.3"
            )
        values.setdefault(name.replace("-", "_"), []).append(value)
    return values
