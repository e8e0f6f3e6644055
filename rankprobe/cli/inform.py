"""Commands that list tasks and methods, download data, and print versions."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rankprobe.cli.complete import task_names
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import option
from rankprobe.text import plain


@with_json("methods")
def methods() -> Result:
    """List methods and how many parameters each trains."""
    from rankprobe.prompts import METHODS
    from rankprobe.studies.parameters import BACKBONES, trainable_parameters

    table = Table("method", "n", *BACKBONES, "what it trains", box=None, header_style="bold", pad_edge=False)
    rows = []
    for name, (config, _) in METHODS.items():
        try:
            counts = {title: trainable_parameters(name, shape) for title, shape in BACKBONES.items()}
        except Exception as error:
            if name in METHODS.own:
                raise
            typer.echo(plain(f"left out: method '{name}' of a plugin cannot be built ({error})"), err=True)
            continue
        n = config.model_fields["prompt_length"].default
        about = (config.__doc__ or "").splitlines()[0].rstrip(".")
        rows.append({"method": name, "prompt_length": n, "trainable_parameters": counts, "trains": about})
        table.add_row(name, str(n), *(f"{count:,}" for count in counts.values()), about)
    console = Console(width=max(Console().width, 120))
    return Result({"methods": rows}, lambda: console.print(table, highlight=False))


tasks_app = typer.Typer(help="List tasks, or show one.")
data_app = typer.Typer(help="Download data, for machines without network.")


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
        console.print(
            "\n--data is bundled or bundled-500 (our miniature), hub, or a folder with official rows"
        )
        console.print("a task of your own: --task FILE.toml or --task FOLDER")
        console.print("show one task: rankprobe tasks show cb")

    return Result({"tasks": rows}, show)


@tasks_app.command()
@with_json("tasks show")
def show(
    task: Annotated[
        str,
        typer.Argument(help="A task, or a TOML file or folder of your own", autocompletion=task_names),
    ],
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
    task: Annotated[
        list[str] | None, option("--task", "A task; repeatable; unset: all", complete=task_names)
    ] = None,
) -> None:
    """Download SuperGLUE from the hub into the local cache, so that runs need no network."""
    from rankprobe.tasks import SPLITS, TASKS, get_task, load_split

    for name in task or TASKS.own:
        counts = [f"{len(load_split(get_task(name), split, 'hub').examples):,} {split}" for split in SPLITS]
        typer.echo(f"{name}: {', '.join(counts)}")


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
