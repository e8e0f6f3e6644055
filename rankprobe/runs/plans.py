"""Which runs belong to an experiment: the plans that sweeps leave beside their run folders."""

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
    """An experiment at one scale, as a sweep was asked to do it.

    Attributes:
        name: of the experiment's file, without ending.
        scale: `bundled`, `paper`, …; "" for an experiment without scales.
        title: what it is about.
        draws: the figures and tables made from it.
        command: what makes its runs.
        run_ids: all of them, finished or not.
    """

    name: str
    scale: str
    title: str
    draws: list[str]
    command: str
    run_ids: list[str]


def write_plan(plan: Plan, runs_dir: str | Path) -> None:
    """Write a plan into `runs_dir`, in place of an older one of that name and scale.

    Raises:
        RankprobeError: its scale cannot be part of a file's name.
    """
    if "/" in plan.scale:
        raise RankprobeError(f"'{plan.name}' has a scale '{plan.scale}'; expected a name without /")
    folder = Path(runs_dir) / PLANS
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{plan.name}.{plan.scale or 'plan'}.json", asdict(plan))


def read_plans(runs_dir: str | Path) -> list[Plan]:
    """The plans of all sweeps into `runs_dir`, by name.

    Raises:
        RankprobeError: one of them is damaged.
    """
    found = []
    for path in sorted((Path(runs_dir) / PLANS).glob("*.json")):
        try:
            found.append(Plan(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError) as error:
            check_lfs(path)
            raise RankprobeError(f"{path} cannot be read ({error}); sweep again, or remove it") from None
    return found
