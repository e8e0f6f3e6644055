"""Scores over the number of trained parameters: bottlenecks, random subspaces, and d90."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rankprobe.config.run import methods_with
from rankprobe.errors import RankprobeError
from rankprobe.prompts import METHODS
from rankprobe.rank import least_sufficient_k, share_interval
from rankprobe.runs import (
    Frames,
    over_seeds,
    replicates,
    reported,
    reported_baseline,
    scored_data_labels,
    setting_text,
    shared_settings,
)

SIZES = {"dpt": "bottleneck", "subspace": "dimension"}
"""The setting that bounds the rank or the dimension of a method's prompt."""

SHARE = 0.9
"""Of the full score that d90 keeps (Li et al. 2018)."""

LABELS = ["data_label", "model_label", "metric"]

FREE = ("twin", "eval_every")
"""Settings that do not change the last score."""


def capacity(frames: Frames) -> pd.DataFrame:
    """Last dev scores of finished DPT and random-subspace runs over their size; control runs are left out.

    Scores and baseline are those of the reported dev rows; runs without such a score are left out.
    `data_label` says if only the held-back half of dev is reported.

    Returns:
        A row per size and setting, over seeds: labels of data and model, `metric`, `size`, `method`, each
        setting in which the rows differ, `seeds`, the last score (`score`, `least`, `greatest`), `baseline`,
        `learned`, the number of seeds whose score exceeds the baseline, `learned_low` to `learned_high`, the
        95 % interval of their share, `functional_rank` of P in the order of its singular values (mean over
        the seeds that have one; see `rankprobe truncate`), and `functional_rank_seeds`, their number.

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
    """The intrinsic dimension d90: the smallest random subspace that reaches 90 % of the full score.

    The full score is that of vanilla prompt tuning with the same settings.
    Source: Li et al. (2018), section 2.

    Returns:
        A row per group of subspace runs that differ only in seed and dimension: labels of data and model,
        `metric`, each setting in which the rows differ, `d90` (NaN if all dimensions are too small), `full`
        (the vanilla score), and `tried` (the dimensions).

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
        found = least_sufficient_k(sizes, curve["mean"].to_numpy(), full=full, floor=0, share=SHARE)
        about = part[[*LABELS, *named]].iloc[0].to_dict()
        rows.append(about | {"d90": float(found), "full": full, "tried": sizes})
    return pd.DataFrame(rows).sort_values(LABELS, ignore_index=True)


def _scored(frames: Frames) -> pd.DataFrame:
    """Finished runs on true labels with a reported score, as columns `score`, `baseline`, `data_label`."""
    runs = frames.runs[frames.runs["status"] == "finished"]
    if "control" in runs:
        runs = runs[runs["control"].isna() | (runs["control"] == "none")]
    runs = runs.assign(
        score=reported(runs, "last"), baseline=reported_baseline(runs), data_label=scored_data_labels(runs)
    )
    runs = runs if "seed" in runs else runs.assign(seed=range(len(runs)))
    return runs[runs["score"].notna()].reset_index(drop=True)


def _row(part: pd.DataFrame, method: str, size: str, named: list[str]) -> dict[str, Any]:
    scores = _over_seeds(part, "score").iloc[0]
    columns = ["functional_rank", "functional_rank_order", "functional_rank_prompt"]
    part = part.reindex(columns=list(dict.fromkeys([*part, *columns])))
    own = (part["functional_rank_order"] != "sensitivity") & (part["functional_rank_prompt"] != "best")
    ranks = _over_seeds(part.assign(functional_rank=part["functional_rank"].where(own)), "functional_rank")
    learned = part.groupby("seed")[["score", "baseline"]].mean().diff(axis=1)["baseline"] < 0
    low, high = share_interval(int(learned.sum()), len(learned))
    return {
        **{name: part[name].iloc[0] for name in LABELS},
        "size": part[size].iloc[0],
        "method": method,
        **{name: part[name].iloc[0] for name in named},
        "seeds": int(scores["n_seeds"]),
        "score": scores["mean"],
        "least": scores["min"],
        "greatest": scores["max"],
        "baseline": part["baseline"].mean(),
        "learned": int(learned.sum()),
        "learned_low": low,
        "learned_high": high,
        "functional_rank": ranks["mean"].iloc[0],
        "functional_rank_seeds": int(ranks["n_seeds"].iloc[0]),
    }


def _over_seeds(part: pd.DataFrame, value: str, *keys: str) -> pd.DataFrame:
    return over_seeds(part.astype({value: float}), [*keys, "method"], value)


def _differing(runs: pd.DataFrame, settings: list[str]) -> list[str]:
    """The settings other than seed and size in which runs of one method on the same data and model differ."""
    names = [name for name in shared_settings(settings, *FREE, *SIZES.values(), "method") if name in runs]
    alike = [own[names].map(setting_text) for _, own in runs.groupby([*LABELS, "method"])]
    return [name for name in names if any(own[name].nunique() > 1 for own in alike)]
