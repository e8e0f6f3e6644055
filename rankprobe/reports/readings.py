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
    QUANTILE,
    SHUFFLES,
    gram_singular_values,
    measure_spectrum,
    shuffled,
    singular_values,
)
from rankprobe.runs import MANIFEST, Run, read_prompts

Measures = Mapping[str, np.ndarray | np.float64]
"""Value of each measure by name: a number for one spectrum, an array for a batch of spectra."""

N_GAUSSIAN = 20
"""Number of Gaussian matrices for the null `gaussian`."""

TWIN_MATRIX = {"P": "gaussian_P", "dP": "gaussian_dP", "sigma": "gaussian_sigma"}
"""The matrix of the noise twin in the log `spectra`, by matrix of the run."""


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

    The nulls are `gaussian`, 20 matrices of the same shape with i.i.d. normal entries (measures do not depend
    on scale); `shuffled`, 20 random permutations of the entries of the matrix; and, for runs with a noise
    twin, `twin`, the same measure of the twin at the last step.

    Args:
        places: run folders, files and PEFT adapters, as in `runs.read_prompts`.
        seed: the seed of the random nulls.

    Returns:
        A row per place, prompt, matrix and measure: `value`; mean and standard deviation of each random null;
        `twin`; and `effect`, (value − mean of `shuffled`) / standard deviation of `shuffled`.

    Raises:
        RankprobeError: no places, or no prompt at one of them.
    """
    if not places:
        raise RankprobeError("nothing to analyze; give run folders, prompt files, or adapters")
    matrices = [matrix for place in places for matrix in read_matrices(place)]
    # One thread: with more threads on a busy machine, BLAS is fifty times slower on matrices of this size.
    with threadpool_limits(1, user_api="blas"):
        return pd.DataFrame([row for matrix in matrices for row in _rows(matrix, seed)])


def _rows(prompt: PromptMatrix, seed: int) -> Iterator[dict[str, object]]:
    matrix = np.asarray(prompt.values, dtype=np.float64)
    shape = (matrix.shape[0], matrix.shape[1])
    s = singular_values(matrix)
    shuffled_s = gram_singular_values(shuffled(matrix, SHUFFLES, seed))
    edge = np.quantile(shuffled_s[:, 0], QUANTILE)
    measures = _measures(s, shape, edge)
    nulls = {"shuffled": _measures(shuffled_s, shape, edge), "gaussian": _gaussian_measures(shape, seed)}
    twin = _twin_measures(prompt, shape)
    for name, value in measures.items():
        row: dict[str, object] = {
            "place": prompt.place,
            "prompt": prompt.prompt,
            "matrix": prompt.matrix,
            "n": shape[0],
            "d": shape[1],
            "measure": name,
            "value": float(value),
        }
        for null, values in nulls.items():
            row |= {null: float(values[name].mean()), f"{null}_sd": float(values[name].std(ddof=1))}
        sd = nulls["shuffled"][name].std(ddof=1)
        effect = (float(value) - nulls["shuffled"][name].mean()) / sd if sd > 0 else np.nan
        yield row | {"effect": effect, "twin": float(twin.get(name, np.nan))}


def _measures(s: Num[np.ndarray, "*batch k"], shape: tuple[int, int], edge: float) -> Measures:
    """All measures of spectra of matrices of one shape; `permutation_edge` is the count above `edge`."""
    spectra = np.asarray(s, dtype=np.float64)
    n_above = (spectra > edge).sum(-1).astype(float)
    return {**measure_spectrum(spectra, shape), "permutation_edge": n_above}


@cache
def _gaussian_measures(shape: tuple[int, int], seed: int) -> Measures:
    noise = np.random.default_rng(seed).standard_normal((N_GAUSSIAN, *shape))
    spectra = gram_singular_values(noise)
    return _measures(spectra, shape, np.quantile(spectra[:, 0], QUANTILE))


def _twin_measures(prompt: PromptMatrix, shape: tuple[int, int]) -> dict[str, float]:
    """The measures of the twin's matrix at a run's last step, from its logged spectrum; empty without one."""
    folder = Path(prompt.place)
    if prompt.prompt != "final" or prompt.matrix not in TWIN_MATRIX or not (folder / MANIFEST).is_file():
        return {}
    log = Run(folder).log("spectra")
    if log.empty:
        return {}
    # Use the last step of the run: a twin that diverged has no spectrum at that step, and no measures.
    last = log[(log["matrix"] == TWIN_MATRIX[prompt.matrix]) & (log["step"] == log["step"].max())]
    if last.empty:
        return {}
    last = last.sort_values("index")
    measures = measure_spectrum(last["value"].to_numpy(dtype=np.float64), shape)
    return {name: float(value) for name, value in measures.items()}


def _unit_rows(P: Num[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """P with each row scaled to length one; rows of zeros stay zero."""
    lengths = np.linalg.norm(P.astype(np.float64), axis=1, keepdims=True)
    return np.divide(P, lengths, out=np.zeros(P.shape), where=lengths > 0)
