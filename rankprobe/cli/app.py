"""The commands. Each parses, builds, calls the library, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rankprobe.cli import measure, sweep, table, use
from rankprobe.cli.options import build_config, with_settings
from rankprobe.errors import RankprobeError

app = typer.Typer(
    help="Measure the intrinsic rank of soft prompts, and see how far a reading can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda word: word.replace("_", "-"),
    },
)

RunsDir = Annotated[Path, typer.Option(help="Where run folders live")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file of settings; flags override it")]
Seeds = Annotated[
    list[int] | None, typer.Option("--seed", help="Repeat it to train several runs in one pass [42]")
]
Name = Annotated[str | None, typer.Option(help="Run id; unset: made from the settings")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run if its folder exists")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start over if its folder exists")]


@app.callback()
def debug(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors")] = False,
) -> None:
    """Options of all commands; `main` acts on them."""


def train(
    settings: dict[str, Any],
    config: ConfigFile = None,
    seed: Seeds = None,
    runs_dir: RunsDir = Path("runs"),
    name: Name = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a soft prompt by any method; see: rankprobe methods."""
    if resume and overwrite:
        raise RankprobeError("--resume and --overwrite exclude each other; give one")
    if name and seed and len(seed) > 1:
        raise RankprobeError(f"--name {name} fits one run, and there are {len(seed)} seeds; leave it out")
    seeds = [{"seed": s} for s in seed or []] or [{}]
    configs = [build_config({**settings, **each}, config) for each in seeds]
    if_exists = "resume" if resume else "overwrite" if overwrite else "error"
    _train(configs, runs_dir, name, if_exists)


def _train(configs: list, runs_dir: Path, name: str | None, if_exists: Any) -> None:
    from rankprobe.cli.progress import Watch
    from rankprobe.cli.show import summary
    from rankprobe.training.api import train_cohort
    from rankprobe.training.session import on_this_machine

    console = Console()
    here = on_this_machine(configs[0]).backbone
    where = f"training on {here.device_map or here.device}, weights of the backbone in {here.dtype}"
    with Watch(console, several=len(configs) > 1, start=where) as watch:
        runs = train_cohort(
            configs,
            runs_dir=runs_dir,
            names=[name] if name else None,
            if_exists=if_exists,
            hooks=[watch],
        )
    for run in runs:
        summary(console, run)


app.command(name="probe", help="Train the paper's rank probe, with its noise twin beside it.")(
    with_settings(train, without=("seed",), fixed={"method": "probe"})
)
app.command()(with_settings(train, without=("seed",)))


@app.command(name="resume")
def resume_command(
    run: Annotated[list[str], typer.Argument(help="Run ids, or paths of run folders.")],
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Continue runs that were interrupted, killed, or failed."""
    from rankprobe.cli.progress import Watch
    from rankprobe.cli.show import summary
    from rankprobe.runs import find_run
    from rankprobe.training.api import resume

    console = Console()
    found = [find_run(name, runs_dir) for name in run]
    with Watch(console, several=len(found) > 1) as watch:
        resume(found, hooks=[watch])
    for each in found:
        summary(console, each)


app.command(name="eval")(use.evaluate)
app.command()(use.predict)
app.command()(use.neighbors)
app.command()(use.export)
app.command()(sweep.sweep)
app.command()(table.table)
app.command()(measure.analyze)
app.command()(measure.truncate)
app.command()(measure.calibrate)


@app.command()
def plot(
    figure: Annotated[
        list[str] | None,
        typer.Argument(help="fig1, fig3 … fig9, …; unset: what the runs and sweeps call for."),
    ] = None,
    run: Annotated[list[str] | None, typer.Option("--run", help="Only this run; repeatable.")] = None,
    scale: Annotated[str | None, typer.Option(help="Of the sweep: bundled, or paper.")] = None,
    look: Annotated[str, typer.Option(help="screen, or paper (serif, column width, PDF).")] = "screen",
    runs_dir: RunsDir = Path("runs"),
    output: Annotated[Path, typer.Option(help="Folder for PNG, SVG and provenance.")] = Path("figures"),
) -> None:
    """Draw figures from logged runs: the paper's, beside their noise twins, and ours."""
    from rankprobe.cli.select import frames_for, planned
    from rankprobe.cli.show import saved
    from rankprobe.errors import unknown
    from rankprobe.plots import ALIASES, FIGURES, LOOKS, OF_ONE_RUN, save

    if look not in LOOKS:
        raise unknown("look", look, LOOKS)
    asked = figure or [name for name in FIGURES if name in OF_ONE_RUN or name in planned(runs_dir)]
    names = [ALIASES.get(name, name) for name in asked]
    for name in names:
        if name not in FIGURES:
            raise unknown("figure", name, FIGURES)
    console, drawn = Console(), list[Path]()
    for name in names:
        frames = frames_for(name, runs_dir, run, scale)
        try:
            drawn += save(FIGURES[name](frames, look=look), name, frames, output, look)
        except RankprobeError as error:
            if figure or frames.steps.empty:
                raise
            typer.echo(f"left out: {error}", err=True)
    saved(console, drawn)


@app.command()
def runs(runs_dir: RunsDir = Path("runs")) -> None:
    """List runs with their last readings."""
    from rankprobe.cli.show import runs_table
    from rankprobe.runs import list_frame

    typer.echo(runs_table(list_frame(runs_dir)))


@app.command()
def methods() -> None:
    """List methods and how many numbers each trains at its defaults."""
    from rankprobe.prompts import METHODS
    from rankprobe.training.count import BACKBONES, trainable_parameters

    table = Table("method", "n", *BACKBONES, "what it trains", box=None, header_style="bold", pad_edge=False)
    for name, (config, _) in METHODS.items():
        counts = [f"{trainable_parameters(name, shape):,}" for shape in BACKBONES.values()]
        n = str(config.model_fields["prompt_length"].default)
        table.add_row(name, n, *counts, (config.__doc__ or "").splitlines()[0].rstrip("."))
    Console(width=max(Console().width, 120)).print(table, highlight=False)


tasks_app = typer.Typer(help="List tasks, or show one.")
app.add_typer(tasks_app, name="tasks")
data_app = typer.Typer(help="Data for machines without network.")
app.add_typer(data_app, name="data")


@tasks_app.callback(invoke_without_command=True)
def tasks(context: typer.Context) -> None:
    """List tasks, their labels, metrics and sources; `rankprobe tasks show cb` shows one."""
    from rankprobe.tasks import TASKS

    if context.invoked_subcommand:
        return
    table = Table("task", "labels", "metrics", box=None, header_style="bold", pad_edge=False)
    for task in TASKS.values():
        labels = ", ".join(task.answer_set("words")) or "text of the row"
        table.add_row(task.name, labels, ", ".join(task.metrics))
    console = Console()
    console.print(table)
    console.print("\neach with --data bundled (miniature), hub, or a folder of the official release")
    console.print("one of your own: --task FILE.toml or FOLDER; more about one: rankprobe tasks show cb")


@tasks_app.command()
def show(
    task: Annotated[str, typer.Argument(help="A task, or a TOML file or folder of your own.")],
    data: Annotated[str, typer.Option(help="bundled, bundled-500, hub, or a folder")] = "bundled",
    targets: Annotated[str, typer.Option(help="digits, words, or one word per label")] = "digits",
    tokenizer: Annotated[str | None, typer.Option(help="Hub id or folder; unset: that of tiny")] = None,
) -> None:
    """Print a task's counts, label balance, majority score, text lengths, and two examples."""
    from rankprobe.cli.show import task_sheet

    task_sheet(Console(), task, data, targets, tokenizer)


@data_app.command()
def fetch(
    task: Annotated[list[str] | None, typer.Option("--task", help="Repeatable; unset: all.")] = None,
) -> None:
    """Download SuperGLUE from the hub into the local cache, where runs find it without network."""
    from rankprobe.tasks import SPLITS, TASKS, get_task, load_split

    for name in task or TASKS:
        counts = [f"{len(load_split(get_task(name), split, 'hub').examples):,} {split}" for split in SPLITS]
        typer.echo(f"{name}: {', '.join(counts)}")


@app.command()
def env() -> None:
    """Print versions and hardware, for bug reports."""
    from rankprobe.training.manifest import machine, versions

    table = Table.grid(padding=(0, 3))
    for name, value in {**versions(), **machine("cpu"), **_accelerators()}.items():
        table.add_row(name, str(value))
    Console().print(table, highlight=False)


def _accelerators() -> dict[str, object]:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cuda": ", ".join(names) or "none", "mps": torch.backends.mps.is_available()}
