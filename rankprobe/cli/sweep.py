"""The command that trains experiments: sweep."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rankprobe.cli.lines import print_line, progress_console
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import RunsDir, option
from rankprobe.errors import RankprobeError, RunFailed, unknown
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.config.run import RunConfig
    from rankprobe.sweeps import Cohort, Engine, Outcome

ENGINES = ("local", "ray", "slurm")


@with_json("sweep")
def sweep(
    spec: Annotated[list[Path], typer.Argument(help="Experiments: TOML files, such as experiments/*.toml")],
    scale: Annotated[
        str | None,
        option("--scale", "bundled (small, runs here) or paper (T5, SuperGLUE)", default="bundled"),
    ] = None,
    change: Annotated[
        list[str] | None,
        option(
            "--set", "Override a setting: data=~/superglue, seed=[1,2]; repeatable", metavar="SETTING=VALUE"
        ),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    dry_run: Annotated[
        bool, option("--dry-run", "Print what would be trained, and stop", metavar="")
    ] = False,
    shard: Annotated[
        str, option("--shard", "Train only part i of n, for job arrays", default="1/1", metavar="i/n")
    ] = "1/1",
    cohort: Annotated[
        int, option("--cohort", "Maximum runs per pass, if memory allows", default=16, metavar="INT", min=1)
    ] = 16,
    engine: Annotated[str, option("--engine", "local, ray or slurm", default="local")] = "local",
    address: Annotated[
        str | None, option("--address", "HOST:PORT of a Ray cluster, or auto; unset: this machine")
    ] = None,
    cpus: Annotated[
        float, option("--cpus", "CPUs per cohort, with Ray", default=1, metavar="NUM", min=0)
    ] = 1,
    gpus: Annotated[
        float | None, option("--gpus", "GPUs per cohort, with Ray; unset: 1 if any", metavar="NUM", min=0)
    ] = None,
    slurm: Annotated[
        list[str] | None,
        option("--slurm", "Option of the jobs, such as partition=gpu; repeatable", metavar="KEY=VALUE"),
    ] = None,
) -> Result:
    """Train all runs of experiments; give the command again to continue.

    Finished runs are kept, interrupted and killed runs continue, failed runs are tried again once.
    """
    from rankprobe import sweeps
    from rankprobe.cli.sweep_progress import SweepProgress
    from rankprobe.data.eval_set import task_of

    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if slurm and engine != "slurm":
        raise RankprobeError(f"--slurm is for --engine slurm, not {engine}; leave it out")
    overrides = dict(_parse_override(text) for text in change or [])
    specs = {path: sweeps.load_spec(path) for path in spec}
    experiments = {}
    for path, one in specs.items():
        sweeps.chosen_scale(one, scale)
        try:
            experiments[path.stem] = sweeps.configs_of(one, scale, overrides)
        except RankprobeError as error:
            if overrides:  # --set may be at fault
                raise
            raise RankprobeError(f"experiment '{path}': {error}") from None
    all_configs = {config.run_id: config for configs in experiments.values() for config in configs}
    for config in {(config.task, config.targets): config for config in all_configs.values()}.values():
        task_of(config).check_targets(config.targets)  # before anything is written
    cohorts = sweeps.shard(sweeps.pack(list(all_configs.values()), max_members=cohort), shard)
    to_truncate = {
        config.run_id for path, one in specs.items() if one.truncate for config in experiments[path.stem]
    }
    trainer = None if dry_run else _engine(engine, address, cpus, gpus, slurm or [], all_configs)
    console = Console()
    if dry_run:
        return Result(
            {"dry_run": True, "runs": _run_states(cohorts, runs_dir)},
            lambda: _print_plan(console, experiments, cohorts, runs_dir),
        )
    for path, one in specs.items():
        _write_plan(path, one, scale, change or [], experiments[path.stem], runs_dir)
    with SweepProgress(progress_console(), experiments, cohorts, runs_dir) as progress:
        outcome = sweeps.sweep(
            cohorts, runs_dir=runs_dir, to_truncate=to_truncate, engine=trainer, done=progress.cohort_done
        )
    count = sum(map(len, cohorts))
    print_line(
        console,
        f"{len(outcome.finished)} of {count} runs finished; draw them with: "
        f"rankprobe plot --runs-dir {shlex.quote(str(runs_dir))}",
    )
    elsewhere = len(outcome.problems) - len(outcome.failed)
    if elsewhere:
        typer.echo(f"{elsewhere} are being trained by another process")
    document = {"dry_run": False, "runs": _run_states(cohorts, runs_dir, outcome)}
    if not outcome.failed:
        return Result(document)
    reasons = "\n".join(dict.fromkeys(outcome.failed.values()))
    error = RunFailed(f"{len(outcome.failed)} of {count} runs failed in two attempts:\n{reasons}")
    return Result(document, error=error)


def _run_states(
    cohorts: list[Cohort], runs_dir: Path, outcome: Outcome | None = None
) -> list[dict[str, Any]]:
    """Return a row per run: `finished`, `failed`, `elsewhere` (another process trains it) or `unfinished`."""
    from rankprobe.config.folders import run_folder
    from rankprobe.sweeps import is_finished

    failed, problems = (outcome.failed, outcome.problems) if outcome else ({}, {})
    rows = []
    for config in (config for cohort in cohorts for config in cohort):
        path = run_folder(config, runs_dir)
        if config.run_id in problems:
            state = "failed" if config.run_id in failed else "elsewhere"
        else:
            state = "finished" if is_finished(path) else "unfinished"
        reason = problems.get(config.run_id)
        rows.append({"run_id": path.name, "path": path, "state": state, "reason": reason})
    return rows


def _engine(
    name: str,
    address: str | None,
    cpus: float,
    gpus: float | None,
    slurm: list[str],
    configs: dict[str, RunConfig],
) -> Engine:
    from rankprobe.sweeps import in_this_process

    if name == "local":
        return in_this_process
    devices = {config.device for config in configs.values()}
    on_cuda = any(device.startswith("cuda") for device in devices)
    if name == "slurm":
        from rankprobe.sweeps.slurm import on_slurm, parse_options

        return on_slurm(({"gpus_per_node": 1} if on_cuda else {}) | parse_options(slurm))
    from rankprobe.sweeps.cluster import on_ray

    # The node resolves `auto`: it sees a GPU if Ray gave one to the cohort.
    per_cohort = gpus if gpus is not None else 1.0 if on_cuda else None if "auto" in devices else 0.0
    return on_ray(address=address, cpus=cpus, gpus=per_cohort)


def _print_plan(
    console: Console, experiments: dict[str, list[RunConfig]], cohorts: list[Cohort], runs_dir: Path
) -> None:
    """Print the number of runs of each experiment, and the cohorts that are not yet finished."""
    from rankprobe.cli.sweep_progress import SweepProgress, describe
    from rankprobe.config.folders import run_folder
    from rankprobe.sweeps import is_finished

    console.print(SweepProgress(console, experiments, cohorts, runs_dir).table().renderables[0])
    for cohort in cohorts:
        unfinished = [config for config in cohort if not is_finished(run_folder(config, runs_dir))]
        if unfinished:
            first = unfinished[0]
            n, steps = first.method.prompt_length, first.steps
            length = f"{steps} steps" if steps else f"{first.epochs} epochs"
            line = f"{describe(unfinished)}: {first.model}, {first.data}, n = {n}, {length}"
            typer.echo(plain(line))


def _write_plan(
    path: Path, spec: Any, scale: str | None, changes: list[str], configs: list[RunConfig], runs_dir: Path
) -> None:
    from rankprobe.config.folders import run_folder
    from rankprobe.runs import Plan, write_plan
    from rankprobe.sweeps import chosen_scale

    scale_name = chosen_scale(spec, scale)
    words = ["rankprobe", "sweep", str(path)]
    words += ["--scale", scale_name] if scale_name else []
    words += [word for change in changes for word in ("--set", change)]
    words += ["--runs-dir", str(runs_dir)]
    ids = [run_folder(config, runs_dir).name for config in configs]
    write_plan(Plan(path.stem, scale_name, spec.title, spec.draws, shlex.join(words), ids), runs_dir)


def _parse_override(text: str) -> tuple[str, Any]:
    """Parse `name=value`. The value is read as TOML; if it is not TOML, it is text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RankprobeError(f"--set is '{text}'; expected NAME=VALUE, such as --set seed=1")
    try:
        return name.replace("-", "_"), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.replace("-", "_"), str(Path(value).expanduser()) if value.startswith("~") else value
