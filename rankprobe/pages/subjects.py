"""Which runs a report is of: the groups of seeds, what is damaged, and what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.runs import Run, is_folder_of_runs, list_runs, read_plans, runs_at
from rankprobe.runs.replicates import runs_by_replicate

Place = Run | str | Path


@dataclass(frozen=True)
class Subjects:
    """The runs of a report.

    Attributes:
        groups: runs that differ only in their seed.
        damaged: folder and problem of each run that cannot be read.
        folders: the folders that were given as a whole.
        missing: name of an experiment, number of its missing runs, and the command that trains them.
    """

    groups: list[list[Run]]
    damaged: list[tuple[str, str]]
    folders: list[Path]
    missing: list[tuple[str, int, str]]

    @property
    def runs(self) -> list[Run]:
        return [run for group in self.groups for run in group]


def subjects(places: Sequence[Place], runs_dir: str | Path = "runs") -> Subjects:
    """Find the runs of a report.

    Args:
        places: runs, ids of runs in `runs_dir`, run folders, or folders of runs.
        runs_dir: the folder of runs that are given by id.

    Raises:
        RankprobeError: a run does not exist, a folder has no runs, no run can be read, or two runs have the
            same id.
    """
    runs: dict[Path, Run] = {}
    folders: list[Path] = []
    for place in places:
        found = [place] if isinstance(place, Run) else runs_at(place, runs_dir)
        runs |= {run.path.resolve(): run for run in found}
        if not isinstance(place, Run) and is_folder_of_runs(place) and found[0].path.parent == Path(place):
            folders.append(Path(place))
    readable, damaged = _readable(runs.values())
    if not readable:
        problem = damaged[0][1] if damaged else "no runs were given"
        raise RankprobeError(f"nothing to report: {problem}")
    ids: dict[str, Path] = {}
    for run in readable:
        if run.id in ids:
            raise RankprobeError(
                f"two runs are named '{run.id}', {ids[run.id]} and {run.path}; give one, or rename a folder"
            )
        ids[run.id] = run.path
    groups = runs_by_replicate(run.path for run in readable)
    return Subjects(groups, damaged, folders, list(_missing(folders)))


def _readable(runs: Iterable[Run]) -> tuple[list[Run], list[tuple[str, str]]]:
    """The runs whose manifest can be read, and folder and problem of the others."""
    readable, damaged = [], []
    for run in runs:
        try:
            _ = run.manifest, run.readings(), run.truncation()
        except RankprobeError as error:
            damaged.append((str(run.path), str(error)))
        else:
            readable.append(run)
    return readable, damaged


def _missing(folders: Iterable[Path]) -> Iterable[tuple[str, int, str]]:
    """The planned runs that are not in their folder."""
    for folder in folders:
        present = {run.id for run in list_runs(folder)}
        for plan in read_plans(folder):
            count = len(set(plan.run_ids) - present)
            if count:
                title = f"{plan.title} ({plan.scale})" if plan.scale else plan.title
                yield title, count, plan.command


def quoted(runs: Iterable[Run]) -> str:
    """The paths of runs as words of a command line."""
    return " ".join(shlex.quote(str(run.path)) for run in runs)
