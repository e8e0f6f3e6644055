"""How much room a prompt needs: scores over the size of what is trained."""

from __future__ import annotations

import pandas as pd

from rankprobe.errors import RankprobeError
from rankprobe.rank import least_enough
from rankprobe.runs import Frames

SIZES = {"dpt": "bottleneck", "subspace": "dimension"}
"""The setting that says how large a method's prompt may get."""

SHARE = 0.9
"""Of the full score that d90 keeps (Li et al. 2018)."""

ALIKE = ["data_label", "model_label", "metric"]


def capacity(frames: Frames) -> pd.DataFrame:
    """Last dev scores of finished DPT and random-subspace runs over their size.

    Returns:
        A row per data, model, method and size: `seeds`, mean, least and greatest last score, `majority`, and
        `functional_rank`, the mean over the runs that `rankprobe truncate` has cut (of P, by its curve).

    Raises:
        RankprobeError: no such run has finished.
    """
    runs = frames.runs
    rows = []
    for method, size in SIZES.items():
        if size not in runs:
            continue
        own = runs[(runs["method"] == method) & (runs["status"] == "finished")]
        for key, part in own.groupby([*ALIKE, size], sort=True):
            rows.append(
                {
                    **dict(zip([*ALIKE, "size"], key, strict=True)),
                    "method": method,
                    "seeds": len(part),
                    "score": part["last"].mean(),
                    "least": part["last"].min(),
                    "greatest": part["last"].max(),
                    "majority": part["majority"].mean(),
                    "functional_rank": part.get("functional_rank", pd.Series(dtype=float)).mean(),
                }
            )
    if not rows:
        raise RankprobeError("no finished run of dpt or subspace; train some: rankprobe train --method dpt")
    return pd.DataFrame(rows)


def d90(frames: Frames) -> pd.DataFrame:
    """The intrinsic dimension: the least random subspace that reaches 90 % of the score of free training.

    Free training is vanilla prompt tuning on the same data and model. Source: Li et al. (2018), section 2.

    Returns:
        A row per data and model: `d90` (NaN if no subspace tried is enough), `full`, the vanilla score, and
        the dimensions tried.

    Raises:
        RankprobeError: no finished subspace runs with vanilla runs beside them.
    """
    runs = frames.runs[frames.runs["status"] == "finished"]
    vanilla = runs[runs["method"] == "vanilla"].groupby(ALIKE)["last"].mean().to_dict()
    table = capacity(frames)
    rows = []
    for key, part in table[table["method"] == "subspace"].groupby(ALIKE, sort=True):
        if key not in vanilla:
            continue
        curve, full = part.sort_values("size"), float(vanilla[key])
        sizes = curve["size"].astype(int).tolist()
        found = least_enough(sizes, curve["score"].to_numpy(), full=full, floor=0, share=SHARE)
        rows.append({**dict(zip(ALIKE, key, strict=True)), "d90": float(found), "full": full, "tried": sizes})
    if not rows:
        raise RankprobeError("d90 needs finished runs of subspace and of vanilla on the same data and model")
    return pd.DataFrame(rows)
