"""Plans: which runs belong to an experiment. A sweep writes one file per plan next to its runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.lfs import check_lfs
from rankprobe.runs.files import write_json

PLANS = "plans"


@dataclass(frozen=True)
class Plan:
    """An experiment at one scale, as a sweep planned it.

    Attributes:
        name: the file name of the experiment, without its suffix.
        scale: for example `bundled` or `paper`; "" for an experiment without scales.
        title: the subject of the experiment.
        draws: the names of its figures and tables.
        command: the command that trains its runs.
        run_ids: all its runs, finished or not.
    """

    name: str
    scale: str
    title: str
    draws: list[str]
    command: str
    run_ids: list[str]


def write_plan(plan: Plan, runs_dir: str | Path) -> None:
    """Write a plan into `runs_dir`; an older plan of the same name and scale is replaced.

    Raises:
        RankprobeError: the scale contains a slash, so it cannot be part of a file name.
    """
    if "/" in plan.scale:
        raise RankprobeError(f"'{plan.name}' has a scale '{plan.scale}'; expected a name without /")
    folder = Path(runs_dir) / PLANS
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{plan.name}.{plan.scale or 'plan'}.json", asdict(plan))


def read_plans(runs_dir: str | Path) -> list[Plan]:
    """Read the plans of all sweeps in `runs_dir`, sorted by file name.

    Raises:
        RankprobeError: a plan is damaged.
    """
    plans = []
    for path in sorted((Path(runs_dir) / PLANS).glob("*.json")):
        try:
            plans.append(Plan(**json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError) as error:
            check_lfs(path)
            raise RankprobeError(f"{path} cannot be read ({error}); sweep again, or remove it") from None
    return plans
