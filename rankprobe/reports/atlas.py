"""The atlas: readings of many prompts with their nulls, and what prompts of one model share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float64, Num
from threadpoolctl import threadpool_limits

from rankprobe.errors import RankprobeError
from rankprobe.rank import (
    leading_directions,
    off_diagonal_mean,
    phi_random,
    position_cosines,
    related_test,
    shuffled_within_rows,
    subspace_overlaps,
)
from rankprobe.reports.readings import analyze, read_matrices
from rankprobe.reports.sources import Found, Sources, find_prompts
from rankprobe.reports.tables import Table

MEASURES = ("numerical_rank", "erank_rv", "stable_rank", "energy_90", "signflip_edge", "gavish_donoho")
"""The measures of an atlas; `analyze --output` writes all of them."""

MATRICES = ("P", "P_rows")
"""The matrices of an atlas. `P_rows` has rows of length one: a few long rows do not decide its spectrum."""

SHUFFLES = 99
"""The number of shuffled copies of all prompts of a model; the smallest p is 1 / (1 + 99)."""

COPY_COSINE = 0.999
"""Prompts with this cosine, as vectors, are copies of each other. In the collection of Su et al. (2022),
copies have 0.9998 or more, and all other pairs less than 0.99."""

MIN_PROMPTS = 5
"""Prompts of one model that are compared at least."""

DIRECTIONS = (
    "model n d compared k prompts pairs phi phi_random phi_shuffled p_shuffled prompts_with_kind "
    "related_pairs other_pairs phi_related phi_other p_related p_related_adjusted"
).split()
"""The columns of `Atlas.directions`."""

UNNAMED = "not listed"
"""The model of a prompt that no collection lists."""


@dataclass(frozen=True)
class Atlas:
    """Many prompts side by side.

    Attributes:
        prompts: a row per prompt: `source`, `model`, `task`, `kind`, `file`, `prompt`, `n`, `d`, `sha256` of
            its numbers, `copy_of` (the first file with the same prompt up to its scale, or ""), `cosine`
            (with that prompt, as vectors, or NaN), and for each matrix and measure `P_erank_rv`,
            `P_erank_rv_signflip` (the mean of the sign-flip null) and so on; `P0_erank_rv` for a prompt that
            is saved with its P0, else NaN.
        directions: a row per model, shape and way, see `compare`; empty without a model with five prompts.
        positions: a row per model and shape, see `compare_positions`.
        left_out: a line for each file without a reading, and for each prompt that was not compared.
    """

    prompts: pd.DataFrame
    directions: pd.DataFrame
    positions: pd.DataFrame
    left_out: list[str]


def atlas(places: Sequence[Path], sources: Sources, *, k: int = 10, seed: int = 0) -> Atlas:
    """Measure all prompts at `places`, and compare those of one model.

    Args:
        places: files, run folders, adapters, and folders that are searched for them.
        sources: the collections that say which model and task a file is for.
        k: the number of first directions to compare.
        seed: of all nulls.

    Raises:
        RankprobeError: a file in `places` cannot be read, or no prompt was found.
    """
    found, left_out = find_prompts(places, sources)
    rows: list[dict[str, Any]] = []
    values: list[Num[np.ndarray, "_n _d"]] = []
    for one in found:
        try:
            measured = list(_measured(one, seed))
        except RankprobeError as error:
            if one.place in places:
                raise
            left_out.append(f"{one.shown}: {error}")
            continue
        rows += [row for row, _ in measured]
        values += [P for _, P in measured]
    if not rows:
        searched = ", ".join(f"'{place}'" for place in places)
        reason = f" ({left_out[0]})" if left_out else ""
        raise RankprobeError(
            f"no prompts in {searched}{reason}; give prompt files, run folders, adapters, or folders of them"
        )
    prompts = _with_copies(pd.DataFrame(rows), values)
    with threadpool_limits(1, user_api="blas"):
        directions, positions, uncompared = _compare_models(prompts, values, k, seed)
    return Atlas(prompts, directions, positions, [*left_out, *uncompared])


def _measured(found: Found, seed: int) -> Iterator[tuple[dict[str, Any], Num[np.ndarray, "_n _d"]]]:
    """Yield a row of `Atlas.prompts` and the matrix of each prompt at a place; of a run, the final prompt."""
    matrices = {(each.prompt, each.matrix): each.values for each in read_matrices(found.place)}
    readings = {
        (row["prompt"], row["matrix"], row["measure"]): row
        for row in analyze([found.place], seed).to_dict("records")
    }
    names = [prompt for prompt, matrix in matrices if matrix == "P"]
    if "final" in names:
        names = ["final"]
    for name in names:
        P = matrices[name, "P"]
        if name == "P0" and len(names) > 1:
            continue
        row: dict[str, Any] = {
            "source": found.source,
            "model": found.model or UNNAMED,
            "task": found.task or found.place.stem,
            "kind": found.kind,
            "file": found.shown,
            "prompt": name,
            "n": P.shape[0],
            "d": P.shape[1],
            "sha256": sha256(np.ascontiguousarray(P, dtype=np.float32).tobytes()).hexdigest(),
        }
        for matrix in MATRICES:
            for measure in MEASURES:
                reading = readings[name, matrix, measure]
                row[f"{matrix}_{measure}"] = reading["value"]
                row[f"{matrix}_{measure}_signflip"] = reading["signflip"]
        row |= {f"P0_{measure}": readings[name, "P", measure]["P0"] for measure in MEASURES}
        yield row, P


def _with_copies(prompts: pd.DataFrame, values: Sequence[Num[np.ndarray, "_n _d"]]) -> pd.DataFrame:
    """Add `copy_of` and `cosine`: the first earlier prompt that is the same up to its scale."""
    copies: dict[int, tuple[str, float]] = {}
    for shape in dict.fromkeys(P.shape for P in values):
        members = [i for i, P in enumerate(values) if P.shape == shape]
        flat = np.stack([_unit(values[i]).ravel().astype(np.float32) for i in members])
        cosines = flat @ flat.T
        zero = ~flat.any(axis=1)
        cosines[np.ix_(zero, zero)] = 1.0  # two prompts of zeros are the same
        for place, i in enumerate(members):
            if i in copies:
                continue
            for later in np.flatnonzero(cosines[place, place + 1 :] >= COPY_COSINE) + place + 1:
                cosine = min(1.0, float(cosines[place, later]))
                copies.setdefault(members[later], (prompts["file"].iloc[i], cosine))
    found = [copies.get(i, ("", float("nan"))) for i in range(len(prompts))]
    after = int(prompts.columns.to_list().index("sha256")) + 1
    prompts.insert(after, "copy_of", [file for file, _ in found])
    prompts.insert(after + 1, "cosine", [cosine for _, cosine in found])
    return prompts


def _unit(P: Num[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """P with Frobenius norm 1; a matrix of zeros stays zero."""
    largest = float(abs(P).max())
    scaled = P.astype(np.float64) / (largest or 1.0)  # squares must not overflow
    return scaled / (np.linalg.norm(scaled) or 1.0)


def _compare_models(
    prompts: pd.DataFrame, values: Sequence[Num[np.ndarray, "_n _d"]], k: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Compare the distinct prompts of each model and shape; return directions, positions and lines.

    Only the first prompt of a task counts, so that pairs of one kind are pairs of two tasks.
    """
    directions, positions, left_out = [], [], []
    distinct = prompts[(prompts["copy_of"] == "") & (prompts["model"] != UNNAMED)]
    distinct = distinct.drop_duplicates(["model", "n", "d", "task"])
    for (model, n, d), part in distinct.groupby(["model", "n", "d"], sort=False):
        compared, kinds = [], []
        for i, file, kind in zip(part.index, part["file"], part["kind"], strict=True):
            try:
                for start in (0, 1):
                    leading_directions(values[i][start::2], k)
            except RankprobeError as error:
                left_out.append(f"{file}: not compared: {error}")
                continue
            compared.append(values[i])
            kinds.append(kind or None)
        if len(compared) >= MIN_PROMPTS:
            shared = {"model": model, "n": n, "d": d}
            directions += [shared | row for row in compare(compared, kinds, k=k, seed=seed)]
            positions.append(shared | {"prompts": len(compared)} | compare_positions(compared))
    found = pd.DataFrame(directions)
    if len(found):
        tested = found["p_related"].notna()
        if tested.any():  # as in rank.verdicts
            p = found.loc[tested, "p_related"].to_numpy(dtype=float)
            found.loc[tested, "p_related_adjusted"] = scipy.stats.false_discovery_control(p)
    return found.reindex(columns=DIRECTIONS), pd.DataFrame(positions), left_out


def compare(
    prompts: Sequence[Num[np.ndarray, "n d"]], kinds: Sequence[str | None], *, k: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Compare the first k directions of prompts of one model, in three ways.

    Prompts of one model may share a start: trainings with one seed have the same initial prompt. So
    `compared` is one of

    - `P`: the prompts;
    - `P - mean`: each prompt, scaled to norm 1, without the mean of all prompts of the model, which estimates
      what they share whatever the task;
    - `odd | even`: the tokens at odd positions of one prompt with those at even positions of the other. A
      common initial prompt has other rows there, so it gives them nothing to share, except what all rows of
      the vocabulary share.

    Each has a mean overlap φ over all pairs, next to k / d, its mean for random subspaces, and to 99 copies
    of all prompts with the entries of each row shuffled; `p_shuffled` is (1 + copies with at least this
    mean) / 100. And it has the means over pairs of tasks of one kind and of two kinds, with the p of
    `related_test`. Both p are one-sided, and not adjusted; `atlas` adds `p_related_adjusted`, by Benjamini
    and Hochberg (1995) over all comparisons of the atlas.

    Args:
        prompts: at least two distinct prompts of the same shape (n, d), with at least k directions in the
            tokens at odd and at even positions.
        kinds: the kind of task of each; None for a task of no kind.
        k: the number of first directions.
        seed: of the shuffles and of the random assignments.

    Returns:
        A row per way.
    """
    unit = [_unit(P) for P in prompts]
    kept = _overlaps(unit, k)
    nulls: dict[str, list[float]] = {name: [] for name in kept}
    rng = np.random.default_rng(seed)
    for _ in range(SHUFFLES):
        for name, overlaps in _overlaps([shuffled_within_rows(P, rng) for P in unit], k).items():
            nulls[name].append(off_diagonal_mean(overlaps))
    rows = []
    for name, overlaps in kept.items():
        mean, shuffled = off_diagonal_mean(overlaps), np.asarray(nulls[name])
        related = related_test(overlaps, kinds, seed=seed)
        rows.append(
            {
                "compared": name,
                "k": k,
                "prompts": len(unit),
                "pairs": len(unit) * (len(unit) - 1) // 2,
                "phi": mean,
                "phi_random": phi_random(k, k, unit[0].shape[1]),
                "phi_shuffled": shuffled.mean(),
                "p_shuffled": (1 + (shuffled >= mean).sum()) / (1 + SHUFFLES),
                "prompts_with_kind": related.prompts,
                "related_pairs": related.related,
                "other_pairs": related.other,
                "phi_related": related.related_mean,
                "phi_other": related.other_mean,
                "p_related": related.p,
            }
        )
    return rows


def _overlaps(prompts: Sequence[Float64[np.ndarray, "n d"]], k: int) -> dict[str, Float64[np.ndarray, "m m"]]:
    """The overlap of each pair of prompts in the three ways of `compare`."""
    mean = np.mean(prompts, axis=0)
    odd, even = ([leading_directions(P[start::2], k) for P in prompts] for start in (0, 1))
    return {
        "P": subspace_overlaps([leading_directions(P, k) for P in prompts]),
        "P - mean": subspace_overlaps([leading_directions(P - mean, k) for P in prompts]),
        "odd | even": subspace_overlaps(odd, even),
    }


def compare_positions(prompts: Sequence[Num[np.ndarray, "n d"]]) -> dict[str, float]:
    """Compare the tokens of prompts of one model by position.

    Prompts of trainings that started alike keep tokens that are alike at the same position.

    Returns:
        `cosine_same` and `cosine_other`, the mean cosine of tokens of two prompts at the same position and at
        two positions; `nearest_same`, the share of tokens whose nearest token in the other prompt (by cosine)
        is at the same position; and `nearest_by_chance`, 1 / n.
    """
    same, other, nearest = [], [], []
    n = len(prompts[0])
    for i, one in enumerate(prompts):
        for another in prompts[:i]:
            cosines = position_cosines(one, another)
            same.append(np.trace(cosines) / n)
            other.append((cosines.sum() - np.trace(cosines)) / max(n * n - n, 1))
            nearest += [(cosines.argmax(axis) == np.arange(n)).mean() for axis in (0, 1)]
    return {
        "cosine_same": float(np.mean(same)),
        "cosine_other": float(np.mean(other)),
        "nearest_same": float(np.mean(nearest)),
        "nearest_by_chance": 1 / n,
    }


def atlas_table(found: Atlas) -> Table:
    """The readings of P and of P with rows of length one, each with its sign-flip null in brackets."""
    columns = {"erank_rv": "effective", "stable_rank": "stable", "signflip_edge": "beyond sign flips"}
    frame = found.prompts.sort_values(["model", "kind", "task"], kind="stable")
    shown = pd.DataFrame(
        {
            "model": frame["model"],
            "task": frame["task"],
            "kind": frame["kind"].replace("", "-"),
            "shape": frame["n"].astype(str).str.cat(frame["d"].astype(str), sep=" × "),
            "numerical": frame["P_numerical_rank"].map("{:.0f}".format),
            **{
                f"{title} of {matrix}": [
                    f"{value:.3g} ({null:.3g})"
                    for value, null in zip(
                        frame[f"{matrix}_{name}"], frame[f"{matrix}_{name}_signflip"], strict=True
                    )
                ]
                for matrix in MATRICES
                for name, title in columns.items()
            },
            "copy of": frame["copy_of"].replace("", "-"),
        }
    )
    distinct = int((found.prompts["copy_of"] == "").sum())
    notes = [
        "in brackets: the mean of 20 copies of the matrix with random signs",
        "P_rows: P with each row scaled to length one",
        f"{distinct} of {len(frame)} prompts are distinct; the others are an earlier one up to its scale "
        f"(cosine at least {COPY_COSINE})",
    ]
    if frame[[f"P0_{name}" for name in MEASURES]].isna().all(axis=None):
        notes.append("no prompt is saved with its P0, so no reading of P0 and no change from it is given")
    return Table("Readings of trained prompts, with sign-flip nulls", shown, notes, heading=("model",))
