"""The commands. Each parses its arguments, calls the library, and prints the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rankprobe import __version__
from rankprobe.cli import atlas, calibrate, measure, replicate, report, sweep, table, task_rank, use
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
from rankprobe.text import plain

TRAIN, USE, MEASURE, SHOW = "Train", "Use trained prompts", "Measure ranks", "Show results"
INFORM = "Tasks, methods, environment"
"""The panels of `rankprobe --help`."""

app = typer.Typer(
    help="Measure the intrinsic rank of soft prompts, and how far a reading can be trusted.",
    no_args_is_help=True,
    add_completion=False,
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
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version", metavar="", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Declare the options of all commands. The help then lists --debug, which `main` handles."""


def train(
    settings: dict[str, Any],
    config: ConfigFile = None,
    seed: Seeds = None,
    runs_dir: RunsDir = Path("runs"),
    name: Name = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
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
    _train(configs, runs_dir, name, if_exists)


def _train(configs: list, runs_dir: Path, name: str | None, if_exists: Any) -> None:
    from rankprobe.cli.progress import RunProgress
    from rankprobe.cli.show import summary
    from rankprobe.evaluation.load import on_this_machine
    from rankprobe.training.api import train_cohort

    console = Console()
    config = on_this_machine(configs[0])
    start = f"training on {config.device_map or config.device}, backbone weights in {config.dtype}"
    with RunProgress(console, several=len(configs) > 1, start=start) as progress:
        runs = train_cohort(
            configs, runs_dir=runs_dir, names=[name] if name else None, if_exists=if_exists, hooks=[progress]
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
) -> None:
    """Train the probe; without any setting, seed or file, as a demonstration."""
    if settings.keys() <= {"method"} and not config and not seed:
        settings = {**settings, **DEMO}
    train(settings, config, seed, runs_dir, name, resume, overwrite)


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
def resume_command(run: RunList, device: Device = None, runs_dir: RunsDir = Path("runs")) -> None:
    """Continue runs that were interrupted or killed, or that failed."""
    from rankprobe.cli.progress import RunProgress
    from rankprobe.cli.show import summary
    from rankprobe.runs import find_run
    from rankprobe.training.api import resume

    console = Console()
    runs = [find_run(name, runs_dir) for name in run]
    with RunProgress(console, several=len(runs) > 1) as progress:
        resume(runs, device=device, hooks=[progress])
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
    with_settings(task_rank.taskrank, without=("seed", "report_split"), fixed={"method": "vanilla"})
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
        typer.Argument(help="Figures, such as fig3; unset: all figures that the runs and sweeps allow"),
    ] = None,
    run: Annotated[list[str] | None, option("--run", "Only this run; repeatable")] = None,
    scale: Annotated[str | None, option("--scale", "Scale of the sweep: bundled or paper")] = None,
    look: Annotated[
        str, option("--look", "screen, or paper (serif, column width, PDF)", default="screen")
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


@app.command(rich_help_panel=INFORM)
@with_json("methods")
def methods() -> Result:
    """List methods and how many parameters each trains."""
    from rankprobe.prompts import METHODS
    from rankprobe.studies.parameters import BACKBONES, trainable_parameters

    table = Table("method", "n", *BACKBONES, "what it trains", box=None, header_style="bold", pad_edge=False)
    rows = []
    for name, (config, _) in METHODS.items():
        counts = {title: trainable_parameters(name, shape) for title, shape in BACKBONES.items()}
        n = config.model_fields["prompt_length"].default
        about = (config.__doc__ or "").splitlines()[0].rstrip(".")
        rows.append({"method": name, "prompt_length": n, "trainable_parameters": counts, "trains": about})
        table.add_row(name, str(n), *(f"{count:,}" for count in counts.values()), about)
    console = Console(width=max(Console().width, 120))
    return Result({"methods": rows}, lambda: console.print(table, highlight=False))


tasks_app = typer.Typer(help="List tasks, or show one.")
app.add_typer(tasks_app, name="tasks", rich_help_panel=INFORM)
data_app = typer.Typer(help="Download data, for machines without network.")
app.add_typer(data_app, name="data", rich_help_panel=INFORM)


@tasks_app.callback(invoke_without_command=True)
@with_json("tasks")
def tasks(context: typer.Context) -> Result | None:
    """List tasks with their labels and metrics, or show one task."""
    from rankprobe.tasks import TASKS

    if context.invoked_subcommand:
        return None
    rows = [
        {"task": task.name, "labels": task.answer_set("words"), "metrics": task.metrics}
        for task in TASKS.values()
    ]

    def show() -> None:
        table = Table("task", "labels", "metrics", box=None, header_style="bold", pad_edge=False)
        for task in rows:
            table.add_row(
                task["task"], ", ".join(task["labels"]) or "text of the row", ", ".join(task["metrics"])
            )
        console = Console()
        console.print(table)
        console.print("\n--data is bundled (our miniature), hub, or a folder with the official release")
        console.print("a task of your own: --task FILE.toml or --task FOLDER")
        console.print("show one task: rankprobe tasks show cb")

    return Result({"tasks": rows}, show)


@tasks_app.command()
@with_json("tasks show")
def show(
    task: Annotated[str, typer.Argument(help="A task, or a TOML file or folder of your own")],
    data: Annotated[
        str, option("--data", "bundled, bundled-500, hub, or a folder", default="bundled")
    ] = "bundled",
    targets: Annotated[
        str, option("--targets", "Label texts: digits, words, or one each: yes,no", default="digits")
    ] = "digits",
    tokenizer: Annotated[
        str | None, option("--tokenizer", "Hub id or folder; unset: the tokenizer of tiny")
    ] = None,
) -> Result:
    """Print a task's counts, label balance, baseline, text lengths and two examples."""
    from rankprobe.cli.show import task_summary
    from rankprobe.data.description import describe_task

    description = describe_task(task, data, targets, tokenizer)
    return Result({"task": description}, lambda: task_summary(Console(), description))


@data_app.command()
def fetch(
    task: Annotated[list[str] | None, option("--task", "A task; repeatable; unset: all")] = None,
) -> None:
    """Download SuperGLUE from the hub into the local cache, so that runs need no network."""
    from rankprobe.tasks import SPLITS, TASKS, get_task, load_split

    for name in task or TASKS:
        counts = [f"{len(load_split(get_task(name), split, 'hub').examples):,} {split}" for split in SPLITS]
        typer.echo(f"{name}: {', '.join(counts)}")


@app.command(rich_help_panel=INFORM)
@with_json("env")
def env() -> Result:
    """Print versions and hardware, for bug reports."""
    from rankprobe.runs.provenance import accelerators, machine, versions

    installed, found = versions(), accelerators()
    hardware = machine("cpu")
    table = Table.grid(padding=(0, 3))
    shown = {"cuda": ", ".join(found["cuda"]) or "none", "mps": found["mps"]}
    for name, value in {**installed, **hardware, **shown}.items():
        table.add_row(name, str(value))
    of_cpu = {name: value for name, value in hardware.items() if name not in ("device", "cuda", "tf32")}
    document = {"versions": installed, "machine": of_cpu, "accelerators": found}
    return Result(document, lambda: Console().print(table, highlight=False))
