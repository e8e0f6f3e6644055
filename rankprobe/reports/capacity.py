"""How much room a prompt needs: scores over the size of what is trained."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS
from rankprobe.rank import least_enough
from rankprobe.runs import Frames, decisive, over_seeds, replicates, reported, reported_majority, scored_rows
from rankprobe.runs import shown as text_of
from rankprobe.training.config import methods_with

SIZES = {"dpt": "bottleneck", "subspace": "dimension"}
"""The setting that says how large a method's prompt may get."""

SHARE = 0.9
"""Of the full score that d90 keeps (Li et al. 2018)."""

LABELS = ["data_label", "model_label", "metric"]

FREE = ("twin", "eval_every")
"""Settings that change no last score."""


def capacity(frames: Frames) -> pd.DataFrame:
    """Last dev scores of finished DPT and random-subspace runs on true labels over their size.

    Scores and majority are of the dev rows that a run is reported on; a run without such a score is left out,
    and `data_label` says where it is the held-back half only.

    Returns:
        A row per size of runs that are the same but for the seed: labels of data and model, `metric`, `size`,
        `method`, each setting in which the rows differ, `seeds`, mean, least and greatest last score,
        `majority`, `functional_rank`, the mean over the seeds that have one (of P, by the curve of
        `rankprobe truncate`), and `functional_rank_seeds`, how many these are.

    Raises:
        RankprobeError: no such run has finished.
    """
    runs = _scored(frames)
    parts = [
        (method, size, own.astype({size: int}))
        for method, size in SIZES.items()
        if size in runs and len(own := runs[runs["method"] == method])
    ]
    if not parts:
        raise RankprobeError("no finished run of dpt or subspace; train some: rankprobe train --method dpt")
    named = _differing(pd.concat([own for _, _, own in parts]), frames.settings)
    rows = []
    for method, size, own in parts:
        found = [part for _, part in own.groupby(replicates(own, [*frames.settings, size], *FREE))]
        for part in sorted(found, key=lambda part: [*map(str, part[LABELS].iloc[0]), part[size].iloc[0]]):
            rows.append(_row(part, method, size, named))
    return pd.DataFrame(rows)


def d90(frames: Frames) -> pd.DataFrame:
    """The intrinsic dimension: the least random subspace that reaches 90 % of the score of free training.

    Free training is vanilla prompt tuning with the same settings, except those that vanilla does not have.
    Source: Li et al. (2018), section 2.

    Returns:
        A row per curve of subspace runs that differ in seed and dimension only: labels of data and model,
        `metric`, each setting in which the rows differ, `d90` (NaN if no subspace tried is enough), `full`,
        the vanilla score, and `tried`, the dimensions.

    Raises:
        RankprobeError: no finished subspace runs with vanilla runs of the same settings.
    """
    runs = _scored(frames)
    runs = runs[runs["method"].isin(["subspace", "vanilla"])]
    shared = [
        name for name in frames.settings if {"subspace", "vanilla"} <= {*(methods_with(name) or METHODS)}
    ]
    pairs = replicates(runs, shared, *FREE, "method")
    curves = runs[(runs["method"] == "subspace") & pairs.isin(pairs[runs["method"] == "vanilla"])]
    if curves.empty or "dimension" not in curves:
        raise RankprobeError(
            "d90 needs finished runs of subspace and of vanilla on the same data and model, with the same "
            "settings; compare: rankprobe runs"
        )
    named = _differing(curves, frames.settings)
    rows = []
    for _, part in curves.groupby(replicates(curves, frames.settings, *FREE, "dimension")):
        beside = runs[(runs["method"] == "vanilla") & (pairs == pairs[part.index[0]])]
        full = float(_over_seeds(beside, "score")["mean"].iloc[0])
        curve = _over_seeds(part.astype({"dimension": int}), "score", "dimension")
        sizes = curve["dimension"].tolist()
        found = least_enough(sizes, curve["mean"].to_numpy(), full=full, floor=0, share=SHARE)
        about = part[[*LABELS, *named]].iloc[0].to_dict()
        rows.append(about | {"d90": float(found), "full": full, "tried": sizes})
    return pd.DataFrame(rows).sort_values(LABELS, ignore_index=True)


def _scored(frames: Frames) -> pd.DataFrame:
    """Finished runs on true labels that have a score to report, with `score`, `majority` and the label of
    their data as of the dev rows it is of.
    """
    runs = frames.runs[frames.runs["status"] == "finished"]
    if "control" in runs:
        runs = runs[runs["control"].isna() | (runs["control"] == "none")]
    runs = runs.assign(
        score=reported(runs, "last"), majority=reported_majority(runs), data_label=scored_rows(runs)
    )
    runs = runs if "seed" in runs else runs.assign(seed=range(len(runs)))
    return runs[runs["score"].notna()].reset_index(drop=True)


def _row(part: pd.DataFrame, method: str, size: str, named: list[str]) -> dict[str, Any]:
    scores = _over_seeds(part, "score").iloc[0]
    ranks = _over_seeds(
        part.reindex(columns=list(dict.fromkeys([*part, "functional_rank"]))), "functional_rank"
    ).iloc[0]
    return {
        **{name: part[name].iloc[0] for name in LABELS},
        "size": part[size].iloc[0],
        "method": method,
        **{name: part[name].iloc[0] for name in named},
        "seeds": int(scores["n_seeds"]),
        "score": scores["mean"],
        "least": scores["min"],
        "greatest": scores["max"],
        "majority": part["majority"].mean(),
        "functional_rank": ranks["mean"],
        "functional_rank_seeds": int(ranks["n_seeds"]),
    }


def _over_seeds(part: pd.DataFrame, value: str, *keys: str) -> pd.DataFrame:
    return over_seeds(part.astype({value: float}), [*keys, "method"], value)


def _differing(runs: pd.DataFrame, settings: list[str]) -> list[str]:
    """The settings, other than seed and size, in which runs of a method on the same data and model differ."""
    names = [name for name in decisive(settings, *FREE, *SIZES.values(), "method") if name in runs]
    alike = [own[names].map(text_of) for _, own in runs.groupby([*LABELS, "method"])]
    return [name for name in names if any(own[name].nunique() > 1 for own in alike)]
