"""Rank measures of prompts, with the values of the same measures for null matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Num
from threadpoolctl import threadpool_limits

from rankprobe.errors import RankprobeError
from rankprobe.rank import (
    FLIPS,
    QUANTILE,
    SHUFFLES,
    edge_of_flips,
    gram_singular_values,
    measure_spectrum,
    shuffled,
    signflipped,
    singular_values,
)
from rankprobe.runs import MANIFEST, Run, read_prompts
from rankprobe.twins import TWINS as KINDS
from rankprobe.twins import twin_prefix

Spectra = Float64[np.ndarray, "*copies r"]
"""Singular values of one matrix, or of several copies of it."""

Measures = Mapping[str, np.ndarray | np.float64]
"""Value of each measure by name: a number for one spectrum, an array for a batch of spectra."""

TWINS = {twin_prefix(kind).removesuffix("_"): twin_prefix(kind) for kind in KINDS}
"""The prefix of a noise twin's matrices in the log `spectra`, by its name, which is a column of `analyze`."""

RANDOM_NULLS = ("signflip", "shuffled", "iid")

N_IID = 20
"""Number of Gaussian matrices for the null `iid`."""


@dataclass(frozen=True)
class PromptMatrix:
    """A matrix to measure.

    Attributes:
        place: the run folder, file or adapter of the prompt.
        prompt: the name of the prompt there, such as `final`.
        matrix: `P`; `dP` = P − P0, if P0 is known; or `P_rows`, P with each row scaled to length one. Row
            lengths of public prompts differ tenfold, and the longest rows dominate the spectrum of P.
        values: the matrix.
    """

    place: str
    prompt: str
    matrix: str
    values: Num[np.ndarray, "n d"]


def read_matrices(place: str | Path) -> list[PromptMatrix]:
    """The matrices `P`, `dP` and `P_rows` of each prompt at `place`; `runs.read_prompts` lists valid places.

    Raises:
        RankprobeError: there is no prompt at `place`.
    """
    prompts = read_prompts(place)
    start = prompts.get("P0")
    matrices = []
    for name, P in prompts.items():
        matrices.append(PromptMatrix(str(place), name, "P", P))
        if start is not None and name != "P0":
            change = P.astype(np.float64) - start.astype(np.float64)
            matrices.append(PromptMatrix(str(place), name, "dP", change))
        matrices.append(PromptMatrix(str(place), name, "P_rows", _unit_rows(P)))
    return matrices


def analyze(places: Sequence[str | Path], seed: int = 0) -> pd.DataFrame:
    """Every measure of the prompts at `places`, with its nulls. Needs no backbone and no network.

    There are three random nulls, each of 20 matrices:

    - `signflip`: copies of the matrix with an independent random sign for each entry. They keep the sizes of
      entries, rows and columns;
    - `shuffled`: copies with the entries in random order. They lose the scales of rows and columns, so even
      an untrained prompt with rows of different lengths differs from them;
    - `iid`: matrices of the same shape with i.i.d. normal entries (measures do not depend on scale).

    A run has more: `P0`, the same measure of its initial prompt, and a column per noise twin in its log, the
    same measure of the twin at the last step. The logs have the singular values of a twin only, so the
    measures in `rank.EDGES` are NaN for it. The null `signflip` of the measure `signflip_edge` is the same
    for every matrix: one of the 20 copies is above their quantile.

    Args:
        places: run folders, files and PEFT adapters, as in `runs.read_prompts`.
        seed: the seed of the random nulls.

    Returns:
        A row per place, prompt, matrix and measure: `value`; `signflip`, `shuffled`, `iid`, the mean of each
        random null, and its standard deviation in `signflip_sd`, `shuffled_sd`, `iid_sd`; `effect`, (value −
        `signflip`) / `signflip_sd`, NaN if the null does not vary; `P0`, NaN for P0 itself, for ΔP, and
        without a P0; and the noise twins. Only twins that have a reading have a column.

    Raises:
        RankprobeError: no places, or no prompt at one of them.
    """
    if not places:
        raise RankprobeError("nothing to analyze; give run folders, prompt files, or adapters")
    # One thread: with more threads on a busy machine, BLAS is fifty times slower on matrices of this size.
    with threadpool_limits(1, user_api="blas"):
        rows = [row for place in places for row in _rows(place, seed)]
    twins = [name for name in TWINS if any(name in row for row in rows)]
    others = [column for null in RANDOM_NULLS[1:] for column in (null, f"{null}_sd")]
    columns = ["place", "prompt", "matrix", "n", "d", "measure", "value", "signflip", "signflip_sd", "effect"]
    return pd.DataFrame(rows, columns=[*columns, "P0", *twins, *others])


def _rows(place: str | Path, seed: int) -> Iterator[dict[str, object]]:
    matrices = [(matrix, _with_nulls(matrix.values, seed)) for matrix in read_matrices(place)]
    initial = {matrix.matrix: found["value"] for matrix, found in matrices if matrix.prompt == "P0"}
    for matrix, found in matrices:
        others = _twin_measures(matrix)
        if matrix.prompt != "P0" and matrix.matrix in initial:
            others["P0"] = initial[matrix.matrix]
        for name, value in found["value"].items():
            row: dict[str, object] = {
                "place": matrix.place,
                "prompt": matrix.prompt,
                "matrix": matrix.matrix,
                "n": matrix.values.shape[0],
                "d": matrix.values.shape[1],
                "measure": name,
                "value": float(value),
            }
            for null in RANDOM_NULLS:
                row |= {null: found[null][name].mean(), f"{null}_sd": found[null][name].std(ddof=1)}
            mean, sd = found["signflip"][name].mean(), found["signflip"][name].std(ddof=1)
            row["effect"] = (float(value) - mean) / sd if sd > 0 else np.nan
            yield row | {other: float(values.get(name, np.nan)) for other, values in others.items()}


def _with_nulls(values: Num[np.ndarray, "n d"], seed: int) -> dict[str, Measures]:
    """The measures of a matrix, `value`, and of the copies of each random null.

    A copy has edges of its own. Sign-flipped copies of a sign-flipped copy are like those of the matrix, and
    the same holds for shuffles. For the edges of a copy of the other kind, one set of copies is shuffled and
    sign-flipped.
    """
    matrix = np.asarray(values, dtype=np.float64)
    shape = (matrix.shape[0], matrix.shape[1])
    shuffles = shuffled(matrix, SHUFFLES, seed)
    flipped_s = gram_singular_values(signflipped(matrix, FLIPS, seed))
    shuffled_s = gram_singular_values(shuffles)
    both_s = gram_singular_values(signflipped(shuffles[0], FLIPS, seed))
    return {
        "value": _measures(singular_values(matrix), shape, flipped_s, shuffled_s),
        "signflip": _measures(flipped_s, shape, flipped_s, both_s),
        "shuffled": _measures(shuffled_s, shape, both_s, shuffled_s),
        "iid": _iid_measures(shape, seed),
    }


def _measures(s: Spectra, shape: tuple[int, int], flipped_s: Spectra, shuffled_s: Spectra) -> Measures:
    """All measures of the spectra `s`; the edges are those of sign-flipped and of shuffled copies."""
    edges = {
        "signflip_edge": edge_of_flips(flipped_s),
        "permutation_edge": np.quantile(shuffled_s[:, 0], QUANTILE),
    }
    above = {name: (s > edge).sum(-1).astype(float) for name, edge in edges.items()}
    return {**measure_spectrum(s, shape), **above}


@cache
def _iid_measures(shape: tuple[int, int], seed: int) -> Measures:
    s = gram_singular_values(np.random.default_rng(seed).standard_normal((N_IID, *shape)))
    return _measures(s, shape, s, s)


def _twin_measures(prompt: PromptMatrix) -> dict[str, Measures]:
    """The measures of each noise twin's matrix at the last step of a run, from its logged spectrum."""
    folder = Path(prompt.place)
    if prompt.prompt != "final" or not (folder / MANIFEST).is_file():
        return {}
    log = Run(folder).log("spectra")
    if log.empty:
        return {}
    # Use the last step of the run: a twin that diverged has no spectrum at that step, and no measures.
    last = log[log["step"] == log["step"].max()].sort_values("index")
    n, d = prompt.values.shape
    found = {}
    for name, prefix in TWINS.items():
        s = last.loc[last["matrix"] == f"{prefix}{prompt.matrix}", "value"].to_numpy(dtype=np.float64)
        if s.size:
            found[name] = measure_spectrum(s, (n, d))
    return found


def _unit_rows(P: Num[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """P with each row scaled to length one; rows of zeros stay zero."""
    lengths = np.linalg.norm(P.astype(np.float64), axis=1, keepdims=True)
    return np.divide(P, lengths, out=np.zeros(P.shape), where=lengths > 0)
