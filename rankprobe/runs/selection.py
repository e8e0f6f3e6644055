"""The runs for a figure or table: those of the experiment that a sweep planned for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.runs.folder import list_runs
from rankprobe.runs.frames import Frames, load_runs
from rankprobe.runs.plans import read_plans


def frames_for(
    name: str, runs_dir: Path, only: Sequence[str] | None = None, scale: str | None = None
) -> tuple[Frames, list[str]]:
    """Load the runs for a figure or table.

    Args:
        name: the name of the figure or table.
        runs_dir: the folder with the run folders and the plans of sweeps.
        only: run ids; None: the runs of the planned experiment, or all runs if no sweep planned one.
        scale: the scale of the experiment.

    Returns:
        The frames, and the commands that train the planned runs that are missing.

    Raises:
        RankprobeError: plans of several scales exist and `scale` is None, no plan has this scale, or all
            planned runs are missing.
    """
    plans = [] if only else [plan for plan in read_plans(runs_dir) if name in plan.draws]
    scales = sorted({plan.scale for plan in plans})
    if scale is not None and scale not in scales:
        raise RankprobeError(f"no sweep for {name} at scale '{scale}' in {runs_dir}; found: {scales}")
    if scale is None and len(scales) > 1:
        raise RankprobeError(f"{name} has runs of the scales {', '.join(scales)}; choose one with --scale")
    if not plans:
        return load_runs(runs_dir, only=only), []
    plan_of_run = {run_id: plan for plan in plans if scale in (None, plan.scale) for run_id in plan.run_ids}
    present = {run.id for run in list_runs(runs_dir)} & plan_of_run.keys()
    commands = list(
        dict.fromkeys(plan.command for run_id, plan in plan_of_run.items() if run_id not in present)
    )
    if not present:
        raise RankprobeError(
            f"none of the {len(plan_of_run)} runs of {name} is in {runs_dir}; "
            f"train them: {'; '.join(commands)}"
        )
    return load_runs(runs_dir, only=sorted(present)), commands


def planned_names(runs_dir: Path) -> set[str]:
    """Return the names of the figures and tables that all sweeps in `runs_dir` planned."""
    return {name for plan in read_plans(runs_dir) for name in plan.draws}
