"""The command that prints the paper's tables from logged runs: table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankprobe.cli.use import RunsDir
from rankprobe.errors import RankprobeError, unknown
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.runs import Frames

Format = Annotated[str, typer.Option(help="terminal, markdown, latex or csv")]
Score = Annotated[str, typer.Option(help="last, or best (by dev score, as in the paper)")]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Only runs with it: learning_rate=0.3; repeatable; a setting twice: either value"),
]
Output = Annotated[Path | None, typer.Option(help="Write it there instead of on the terminal")]


def table(
    name: Annotated[str, typer.Argument(help="table1, table2, table3, table4")],
    format: Format = "terminal",
    score: Score = "last",
    where: Where = None,
    output: Output = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Print one of the paper's tables from logged runs, its own numbers below ours where they compare.

    Scores (table1; table4: residual prompts of 10 tokens), splits (table2), deviations over seeds (table3).
    """
    from rankprobe.cli.select import frames_for

    print_table(frames_for(name, runs_dir), name, format, score, where, output)


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
        RankprobeError: unknown names, a malformed `where`, `output` exists, or the table cannot be made.
    """
    from rankprobe.reports import TABLES, render
    from rankprobe.runs.files import write_atomically

    if name not in TABLES:
        raise unknown("table", name, TABLES)
    if output is not None and output.exists():
        raise RankprobeError(f"'{output}' exists; choose another name")
    text = render(TABLES[name](frames, score, _settings(where or [])), format)
    if output is None:
        typer.echo(text, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, text.encode())
    typer.echo(plain(output))


def _settings(where: list[str]) -> dict[str, list[str]]:
    """Each setting with the values it may have."""
    found: dict[str, list[str]] = {}
    for each in where:
        name, equals, value = each.partition("=")
        if not name or not equals or not value:
            raise RankprobeError(
                f"--where is '{each}'; expected SETTING=VALUE, such as --where learning_rate=0.3"
            )
        found.setdefault(name.replace("-", "_"), []).append(value)
    return found
