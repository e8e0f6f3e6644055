"""Which runs a figure or table is made from: those of its experiment, where a sweep has planned one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rankprobe.errors import RankprobeError
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.runs import Frames


def frames_for(name: str, runs_dir: Path, only: list[str] | None = None, scale: str | None = None) -> Frames:
    """The runs of the experiment that draws `name`; without such a plan, or with `only`, all or those.

    Says on standard error how many planned runs are missing, and the command that makes them.

    Raises:
        RankprobeError: plans of several scales and none chosen, no such plan, or none of its runs is there.
    """
    from rankprobe.runs import list_runs, load_runs, read_plans

    plans = [] if only else [plan for plan in read_plans(runs_dir) if name in plan.draws]
    scales = sorted({plan.scale for plan in plans})
    if scale is not None and scale not in scales:
        raise RankprobeError(f"no sweep for {name} at scale '{scale}' in {runs_dir}; found: {scales}")
    if scale is None and len(scales) > 1:
        raise RankprobeError(f"{name} has runs of the scales {', '.join(scales)}; choose one with --scale")
    if not plans:
        return load_runs(runs_dir, only=only)
    planned = {run_id: plan for plan in plans if scale in (None, plan.scale) for run_id in plan.run_ids}
    here = {run.id for run in list_runs(runs_dir)}
    for plan in dict.fromkeys(plan.command for run_id, plan in planned.items() if run_id not in here):
        typer.echo(plain(f"{name}: runs are missing; train them with: {plan}"), err=True)
    if not here & planned.keys():
        raise RankprobeError(f"none of the {len(planned)} runs of {name} is in {runs_dir}")
    return load_runs(runs_dir, only=sorted(here & planned.keys()))


def planned(runs_dir: Path) -> set[str]:
    """The figures and tables of all sweeps into `runs_dir`."""
    from rankprobe.runs import read_plans

    return {name for plan in read_plans(runs_dir) for name in plan.draws}
