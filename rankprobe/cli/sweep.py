"""The command that trains whole experiments: sweep."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rankprobe.cli.lines import print_line
from rankprobe.errors import RankprobeError, RunFailed, unknown
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.sweeps import Cohort, Engine
    from rankprobe.training.config import RunConfig

ENGINES = ("local", "ray")


def sweep(
    spec: Annotated[list[Path], typer.Argument(help="Experiments: TOML files, such as experiments/*.toml")],
    scale: Annotated[
        str | None, typer.Option(help="bundled (runs here), paper (T5, SuperGLUE) [bundled]")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another value: data=~/superglue, seed=[1,2]; repeatable"),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where run folders live")] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained; train nothing")
    ] = False,
    shard: Annotated[str, typer.Option(help="Only part i of n, as 2/4: for job arrays")] = "1/1",
    cohort: Annotated[int, typer.Option(min=1, help="Runs in one pass, if memory allows")] = 16,
    engine: Annotated[str, typer.Option(help="local, or ray")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; unset: this machine")] = None,
    cpus: Annotated[float, typer.Option(min=0, help="Ray: processors of a cohort")] = 1,
    gpus: Annotated[float | None, typer.Option(min=0, help="Ray: GPUs of a cohort [1 if any]")] = None,
) -> None:
    """Train every run of one or more experiments, as many as fit in one pass; the same command goes on.

    Finished runs are kept, interrupted and killed ones continued, failed ones tried once more.
    """
    from rankprobe import sweeps
    from rankprobe.training.exam import task_of

    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    changes = dict(_change(each) for each in change or [])
    specs = {path: sweeps.load_spec(path) for path in spec}
    experiments = {path.stem: sweeps.configs_of(each, scale, changes) for path, each in specs.items()}
    every = {config.run_id: config for configs in experiments.values() for config in configs}
    for task in {(config.task.name, config.task.targets): config.task for config in every.values()}.values():
        task_of(task).check_targets(task.targets)  # what is wrong is found before anything is written
    cohorts = sweeps.shard(sweeps.pack(list(every.values()), most=cohort), shard)
    cut = {
        config.run_id for path, each in specs.items() if each.truncate for config in experiments[path.stem]
    }
    console = Console()
    if dry_run:
        _show(console, experiments, cohorts, runs_dir)
        return
    for path, each in specs.items():
        _write_plan(path, each, scale, change or [], experiments[path.stem], runs_dir)
    _train(console, experiments, cohorts, runs_dir, cut, _engine(engine, address, cpus, gpus, every))


def _train(
    console: Console,
    experiments: dict[str, list[RunConfig]],
    cohorts: list[Cohort],
    runs_dir: Path,
    cut: set[str],
    engine: Engine,
) -> None:
    from rankprobe.cli.board import Board
    from rankprobe.sweeps import sweep

    with Board(console, experiments, cohorts, runs_dir) as board:
        outcome = sweep(cohorts, runs_dir=runs_dir, cut=cut, engine=engine, done=board.cohort_done)
    count = sum(map(len, cohorts))
    print_line(
        console,
        f"{len(outcome.finished)} of {count} runs finished; draw them with: "
        f"rankprobe plot --runs-dir {shlex.quote(str(runs_dir))}",
    )
    elsewhere = len(outcome.problems) - len(outcome.failed)
    if elsewhere:
        typer.echo(f"{elsewhere} are being trained by another process")
    if outcome.failed:
        reasons = "\n".join(dict.fromkeys(outcome.failed.values()))
        raise RunFailed(f"{len(outcome.failed)} of {count} runs did not finish, tried twice:\n{reasons}")


def _engine(
    name: str, address: str | None, cpus: float, gpus: float | None, every: dict[str, RunConfig]
) -> Engine:
    from rankprobe.sweeps import in_this_process

    if name == "local":
        return in_this_process
    from rankprobe.sweeps.cluster import on_ray

    devices = {config.backbone.device for config in every.values()}
    on_cuda = any(each.startswith("cuda") for each in devices)
    # What `auto` is decided on the node: it has a GPU where the cohort was given one.
    wanted = gpus if gpus is not None else 1.0 if on_cuda else None if "auto" in devices else 0.0
    return on_ray(address=address, cpus=cpus, gpus=wanted)


def _show(
    console: Console, experiments: dict[str, list[RunConfig]], cohorts: list[Cohort], runs_dir: Path
) -> None:
    """The plan: how many runs of each experiment there are, and which cohorts are still to be trained."""
    from rankprobe.cli.board import Board, describe
    from rankprobe.sweeps import is_finished
    from rankprobe.training.folders import run_folder

    console.print(Board(console, experiments, cohorts, runs_dir).table().renderables[0])
    for cohort in cohorts:
        left = [config for config in cohort if not is_finished(run_folder(config, runs_dir))]
        if left:
            first = left[0]
            n, steps = first.method.prompt_length, first.training.steps
            length = f"{steps} steps" if steps else f"{first.training.epochs} epochs"
            about = f"{describe(left)}: {first.backbone.model}, {first.task.data}, n = {n}, {length}"
            typer.echo(plain(about))


def _write_plan(
    path: Path, spec: Any, scale: str | None, changes: list[str], configs: list[RunConfig], runs_dir: Path
) -> None:
    from rankprobe.runs import Plan, write_plan
    from rankprobe.sweeps import chosen_scale
    from rankprobe.training.folders import run_folder

    named = chosen_scale(spec, scale)
    words = ["rankprobe", "sweep", str(path)]
    words += ["--scale", named] if named else []
    words += [word for change in changes for word in ("--set", change)]
    words += ["--runs-dir", str(runs_dir)]
    ids = [run_folder(config, runs_dir).name for config in configs]
    write_plan(Plan(path.stem, named, spec.title, spec.draws, shlex.join(words), ids), runs_dir)


def _change(text: str) -> tuple[str, Any]:
    """`name=value`, the value as TOML, or as text where it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RankprobeError(f"--set is '{text}'; expected NAME=VALUE, such as --set seed=1")
    try:
        return name.replace("-", "_"), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.replace("-", "_"), str(Path(value).expanduser()) if value.startswith("~") else value
