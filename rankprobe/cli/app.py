"""The commands. Each parses its arguments, calls the library, and prints the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rankprobe import __version__
from rankprobe.cli import (
    atlas,
    calibrate,
    inform,
    measure,
    replicate,
    report,
    sweep,
    table,
    task_rank,
    track,
    use,
)
from rankprobe.cli.complete import figure_names, run_ids
from rankprobe.cli.lines import progress_console
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import (
    Device,
    RunList,
    RunsDir,
    SettingsCommand,
    build_config,
    option,
    with_settings,
)
from rankprobe.errors import RankprobeError
from rankprobe.settings import read_toml
from rankprobe.text import plain

TRAIN, USE, MEASURE, SHOW = "Train", "Use trained prompts", "Measure ranks", "Show results"
INFORM = "Tasks, methods, environment"
"""The panels of `rankprobe --help`."""

app = typer.Typer(
    help="Measure the intrinsic rank of soft prompts, and how far a reading can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda word: word.replace("_", "-"),
    },
)

ConfigFile = Annotated[
    Path | None, option("--config", "TOML file with settings; flags override it", metavar="FILE")
]
Seeds = Annotated[
    list[int] | None,
    option("--seed", "Random seed; repeat it to train several runs in one pass", default=42, metavar="INT"),
]
Name = Annotated[str | None, option("--name", "Run id; unset: made from the settings")]
Resume = Annotated[bool, option("--resume", "Continue the run if its folder exists", metavar="")]
Overwrite = Annotated[bool, option("--overwrite", "Start again if its folder exists", metavar="")]


DEMO = {"stop_after": 50}
"""Settings of `rankprobe probe` without settings: after epoch 50 no entry of the run changes its sign."""


def _print_version(given: bool) -> None:
    if given:
        typer.echo(f"rankprobe {__version__}")
        raise typer.Exit


@app.callback()
def declare(
    debug: Annotated[
        bool, option("--debug", "Show the traceback of an error; works with every command", metavar="")
    ] = False,
    quiet: Annotated[
        bool, option("--quiet", "Show no progress, only results; works with every command", metavar="")
    ] = False,
    verbose: Annotated[
        bool,
        option("--verbose", "Log what is read and decided; twice: more; with every command", metavar=""),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version", metavar="", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Declare the options of all commands. `main` handles all but --version; here they are for the help."""


def train(
    settings: dict[str, Any],
    config: ConfigFile = None,
    seed: Seeds = None,
    runs_dir: RunsDir = Path("runs"),
    name: Name = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    report_to: track.ReportTo = None,
) -> None:
    """Train a soft prompt with any method; list them with: rankprobe methods

    Turn a flag off with --no-FLAG, for example --no-dropout.
    """
    if resume and overwrite:
        raise RankprobeError("--resume and --overwrite exclude each other; give one")
    if name and seed and len(seed) > 1:
        raise RankprobeError(f"--name {name} names one run, but there are {len(seed)} seeds; leave it out")
    seeds = [{"seed": s} for s in seed or []] or [{}]
    configs = [build_config({**settings, **one}, config) for one in seeds]
    if_exists = "resume" if resume else "overwrite" if overwrite else "error"
    _train(configs, runs_dir, name, if_exists, report_to or "")


def _train(configs: list, runs_dir: Path, name: str | None, if_exists: Any, report_to: str) -> None:
    from rankprobe.cli.progress import RunProgress
    from rankprobe.cli.show import summary
    from rankprobe.evaluation.load import on_this_machine
    from rankprobe.training.api import train_cohort

    console = Console()
    config = on_this_machine(configs[0])
    start = f"training on {config.device_map or config.device}, backbone weights in {config.dtype}"
    with RunProgress(progress_console(), several=len(configs) > 1, start=start) as progress:
        runs = train_cohort(
            configs,
            runs_dir=runs_dir,
            names=[name] if name else None,
            if_exists=if_exists,
            hooks=[progress],
            report_to=report_to,
        )
    for run in runs:
        summary(console, run)


def probe(
    settings: dict[str, Any],
    config: ConfigFile = None,
    seed: Seeds = None,
    runs_dir: RunsDir = Path("runs"),
    name: Name = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    report_to: track.ReportTo = None,
) -> None:
    """Train the probe; without any setting, seed or file, as a demonstration."""
    method = read_toml(config, "config").get("method", "probe") if config else "probe"
    if method != "probe":
        raise RankprobeError(
            f"method is {method!r}, but probe trains the probe; use: rankprobe train --config {config}"
        )
    if settings.keys() <= {"method"} and not config and not seed:
        settings = {**settings, **DEMO}
    train(settings, config, seed, runs_dir, name, resume, overwrite, report_to)


PROBE_HELP = """Train the paper's rank probe, together with its noise twins.

A noise twin is the same prompt and optimizer, fed gradients as large as the real ones that carry no task.
Without settings this is a demonstration: bundled CB and model, stopped after epoch 50 of 100.
Turn a flag off with --no-FLAG, for example --no-dropout."""
app.command(name="probe", help=PROBE_HELP, cls=SettingsCommand, rich_help_panel=TRAIN)(
    with_settings(probe, without=("seed",), fixed={"method": "probe"})
)
app.command(cls=SettingsCommand, rich_help_panel=TRAIN)(with_settings(train, without=("seed",)))
app.command(rich_help_panel=TRAIN)(sweep.sweep)


@app.command(name="resume", rich_help_panel=TRAIN)
def resume_command(
    run: RunList,
    device: Device = None,
    report_to: track.ReportTo = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Continue runs that were interrupted or killed, or that failed."""
    from rankprobe.cli.progress import RunProgress
    from rankprobe.cli.show import summary
    from rankprobe.runs import find_run
    from rankprobe.training.api import resume

    console = Console()
    runs = [find_run(name, runs_dir) for name in run]
    with RunProgress(progress_console(), several=len(runs) > 1) as progress:
        resume(runs, device=device, hooks=[progress], report_to=report_to or "")
    for resumed in runs:
        summary(console, resumed)


app.command(name="eval", rich_help_panel=USE)(use.evaluate)
app.command(rich_help_panel=USE)(use.predict)
app.command(rich_help_panel=USE)(use.neighbors)
app.command(rich_help_panel=USE)(use.export)
app.command(rich_help_panel=MEASURE)(measure.analyze)
app.command(rich_help_panel=MEASURE)(atlas.atlas)
app.command(rich_help_panel=MEASURE)(measure.truncate)
app.command(cls=SettingsCommand, rich_help_panel=MEASURE)(
    with_json("taskrank")(
        with_settings(task_rank.taskrank, without=("seed", "report_split"), fixed={"method": "vanilla"})
    )
)
app.command(rich_help_panel=MEASURE)(replicate.replicate)
app.command(rich_help_panel=MEASURE)(calibrate.calibrate)


@app.command(rich_help_panel=SHOW)
@with_json("runs")
def runs(runs_dir: RunsDir = Path("runs")) -> Result:
    """List runs with their scores and ranks."""
    import pandas as pd

    from rankprobe.cli.show import runs_document, runs_table
    from rankprobe.runs import list_rows

    rows = list_rows(runs_dir)
    return Result({"runs": runs_document(rows)}, lambda: typer.echo(runs_table(pd.DataFrame(rows))))


@app.command(rich_help_panel=SHOW)
def plot(
    figure: Annotated[
        list[str] | None,
        typer.Argument(
            help="Figures, such as fig3; unset: all figures that the runs and sweeps allow",
            autocompletion=figure_names,
        ),
    ] = None,
    run: Annotated[list[str] | None, option("--run", "Only this run; repeatable", complete=run_ids)] = None,
    scale: Annotated[str | None, option("--scale", "Scale of the sweep: bundled or paper")] = None,
    look: Annotated[
        str,
        option("--look", "screen, page (for HTML), or paper (serif, column width, PDF)", default="screen"),
    ] = "screen",
    runs_dir: RunsDir = Path("runs"),
    output: Annotated[
        Path,
        option("--output", "Folder for the pictures and their provenance", default="figures", metavar="DIR"),
    ] = Path("figures"),
) -> None:
    """Draw figures from logged runs: those of the paper, with noise twins, and ours."""
    from rankprobe.cli.lines import print_line
    from rankprobe.errors import unknown
    from rankprobe.plots import ALIASES, FIGURES, LOOKS, OF_ONE_RUN, save
    from rankprobe.runs.selection import frames_for, planned_names

    if look not in LOOKS:
        raise unknown("look", look, LOOKS)
    planned = planned_names(runs_dir)
    names = figure or [name for name in FIGURES if name in OF_ONE_RUN or name in planned]
    names = [ALIASES.get(name, name) for name in names]
    for name in names:
        if name not in FIGURES:
            raise unknown("figure", name, FIGURES)
    paths: list[Path] = []
    for name in names:
        frames, missing = frames_for(name, runs_dir, run, scale)
        table.echo_missing(name, missing)
        try:
            paths += save(FIGURES[name](frames, look=look), name, frames, output, look)
        except RankprobeError as error:
            if figure or frames.steps.empty:
                raise
            typer.echo(plain(f"left out: {error}"), err=True)
    console = Console()
    for path in paths:
        print_line(console, path)


app.command(rich_help_panel=SHOW)(table.table)
app.command(rich_help_panel=SHOW)(report.report)
app.command(rich_help_panel=SHOW)(track.track)


app.command(rich_help_panel=INFORM)(inform.methods)
app.command(rich_help_panel=INFORM)(inform.env)
app.add_typer(inform.tasks_app, name="tasks", rich_help_panel=INFORM)
app.add_typer(inform.data_app, name="data", rich_help_panel=INFORM)
