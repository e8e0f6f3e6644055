"""Group runs that differ only in their seed; each group has a panel with a title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from rankprobe.errors import RankprobeError
from rankprobe.plots.twins import twin_columns
from rankprobe.runs import Frames, over_seeds, replicates, setting_text, shared_settings
from rankprobe.text import plain
from rankprobe.twins import TWINS


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed. They share a panel.

    Attributes:
        title: method, data and weights; if several groups share these, the settings in which the groups
            differ; notes on the runs.
        run_ids: the runs.
        steps: their rows of `Frames.steps`.
    """

    title: str
    run_ids: list[str]
    steps: pd.DataFrame

    def band(self, column: str) -> pd.DataFrame:
        """`mean`, `min` and `max` of a column over seeds, indexed by step; empty if there is no such column.

        A step is left out if a seed has reached it but has no value there.
        """
        if column not in self.steps:
            return pd.DataFrame(columns=["mean", "min", "max"])
        values = over_seeds(self.steps, ["step"], column).set_index("step")
        last_steps = self.steps.groupby("seed")["step"].max().to_numpy()
        n_reached = (last_steps[None, :] >= values.index.to_numpy()[:, None]).sum(axis=1)
        return values.loc[values["n_seeds"] == n_reached, ["mean", "min", "max"]]


def group_runs(frames: Frames) -> list[Group]:
    """The groups of all runs that have logged a step, in order of run id.

    Raises:
        RankprobeError: no run has logged a step.
    """
    if frames.steps.empty:
        raise RankprobeError("no logged steps to draw; train a run first: rankprobe probe")
    runs = frames.runs[frames.runs["run_id"].isin(frames.steps["run_id"].unique())]
    settings = [name for name in shared_settings(frames.settings) if name in runs]
    parts = [part for _, part in runs.groupby(replicates(runs, frames.settings), sort=False)]
    titles = [_title_lines(part.iloc[0]) for part in parts]
    groups = []
    for title, part in zip(titles, parts, strict=True):
        same_title = pd.concat([p for t, p in zip(titles, parts, strict=True) if t == title])
        ids = part["run_id"].tolist()
        groups.append(
            Group(
                title="\n".join([*title, *_differing_settings(part, same_title, settings), *_notes(part)]),
                run_ids=ids,
                steps=frames.steps[frames.steps["run_id"].isin(ids)],
            )
        )
    return groups


def all_run_ids(groups: Iterable[Group]) -> list[str]:
    """The run ids of several groups."""
    return [run_id for group in groups for run_id in group.run_ids]


def _title_lines(run: pd.Series) -> tuple[str, str]:
    return plain(f"{run['method']} on {run['data_label']}"), plain(run["model_label"])


def _differing_settings(part: pd.DataFrame, same_title: pd.DataFrame, settings: list[str]) -> list[str]:
    """A line with `setting = value` for each setting in which groups with the same title differ."""
    varying = [name for name in settings if same_title[name].map(setting_text).nunique() > 1]
    values = [f"{name} = {setting_text(part[name].iloc[0])}" for name in varying]
    return [plain(", ".join(values))] if values else []


def _notes(runs: pd.DataFrame) -> list[str]:
    """Lines about the runs of a panel: number of seeds, unfinished runs, noise twins that diverged."""
    count = runs["seed"].nunique()
    lines = [f"mean of {count} seeds, band: least to greatest"] if count > 1 else []
    unfinished = runs[runs["status"] != "finished"]
    if len(unfinished):
        places = Counter(f"{row.status} at {row.step}/{row.total_steps}" for row in unfinished.itertuples())
        told = ", ".join(place if n == 1 else f"{n} runs {place}" for place, n in places.items())
        lines.append(f"not finished: {told}")
    for kind, column in twin_columns(runs, "lost").items():
        lost = runs[column].dropna()
        steps = ", ".join(f"{step:.0f}" for step in lost)
        lines.append(f"{TWINS[kind]} diverged in {len(lost)} of {len(runs)} runs (step {steps})")
    return lines
