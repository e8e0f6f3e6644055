"""Which runs belong on one panel, and what the panel is called. Frames in, frames out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from rankprobe.errors import RankprobeError
from rankprobe.runs import Frames, decisive, over_seeds, replicates, shown
from rankprobe.text import plain


@dataclass(frozen=True)
class Group:
    """Runs that are the same but for the seed: one panel.

    `title` names data and weights, and whatever setting tells this group from another of the same name.
    """

    title: str
    run_ids: list[str]
    steps: pd.DataFrame

    def band(self, column: str) -> pd.DataFrame:
        """`column` over steps: mean, min and max over seeds, indexed by step.

        A step is left out where a seed that has got that far has no value.
        """
        if column not in self.steps:
            return pd.DataFrame(columns=["mean", "min", "max"])
        found = over_seeds(self.steps, ["step"], column).set_index("step")
        reached = self.steps.groupby("seed")["step"].max().to_numpy()
        expected = (reached[None, :] >= found.index.to_numpy()[:, None]).sum(axis=1)
        return found.loc[found["n_seeds"] == expected, ["mean", "min", "max"]]


def groups(frames: Frames) -> list[Group]:
    """The groups of all runs that have logged a step, in order of run id.

    Raises:
        RankprobeError: there are none.
    """
    if frames.steps.empty:
        raise RankprobeError("no logged steps to draw; train a run first: rankprobe probe")
    runs = frames.runs[frames.runs["run_id"].isin(frames.steps["run_id"].unique())]
    settings = [name for name in decisive(frames.settings) if name in runs]
    members = [part for _, part in runs.groupby(replicates(runs, frames.settings), sort=False)]
    names = [_name(part.iloc[0]) for part in members]
    found = []
    for name, part in zip(names, members, strict=True):
        alike = pd.concat([m for n, m in zip(names, members, strict=True) if n == name])
        ids = part["run_id"].tolist()
        found.append(
            Group(
                title="\n".join([*name, *_differing(part, alike, settings), *_seeds(part)]),
                run_ids=ids,
                steps=frames.steps[frames.steps["run_id"].isin(ids)],
            )
        )
    return found


def signed(figure: Figure, run_ids: Iterable[str]) -> Figure:
    """The figure, its label naming the runs it was drawn from, a line each; `save` writes them down."""
    figure.set_label("\n".join(dict.fromkeys(map(str, run_ids))))
    return figure


def ids_of(found: Iterable[Group]) -> list[str]:
    """The runs of several groups."""
    return [run_id for group in found for run_id in group.run_ids]


def _seeds(runs: pd.DataFrame) -> list[str]:
    """What a reader must know of the runs behind a panel: seeds, unfinished runs, twins that diverged."""
    count = runs["seed"].nunique()
    lines = [f"mean of {count} seeds, band: least to greatest"] if count > 1 else []
    unfinished = runs[runs["status"] != "finished"]
    if len(unfinished):
        said = ", ".join(f"{row.status} at {row.step}/{row.total_steps}" for row in unfinished.itertuples())
        lines.append(f"not finished: {said}")
    lost = runs["twin_lost"].dropna() if "twin_lost" in runs else []
    if len(lost):
        steps = ", ".join(f"{step:.0f}" for step in lost)
        lines.append(f"noise twin diverged in {len(lost)} of {len(runs)} runs (step {steps})")
    return lines


def _name(run: pd.Series) -> tuple[str, str]:
    return plain(f"{run['method']} on {run['data_label']}"), plain(run["model_label"])


def _differing(part: pd.DataFrame, alike: pd.DataFrame, settings: list[str]) -> list[str]:
    """`setting = value` for each setting in which groups of the same name differ."""
    varying = [name for name in settings if alike[name].map(shown).nunique() > 1]
    return [plain(", ".join(f"{name} = {shown(part[name].iloc[0])}" for name in varying))] if varying else []
