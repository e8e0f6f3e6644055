"""Readings of prompts: every measure of every matrix, beside what chance alone would give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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

Matrix = NDArray[np.generic]

GAUSSIANS = 20
"""Gaussian matrices behind the null `gaussian`."""

TWINS = {"P": "twin_P", "dP": "twin_dP", "sigma": "twin_sigma"}


@dataclass(frozen=True)
class Named:
    """A matrix to be measured: where it is from, which prompt of that place, and which matrix of it.

    `matrix` is `P`, `dP` (P − P0, where P0 is known) or `P_rows` (each row of P at length one: rows of public
    prompts differ tenfold in length, and the longest would rule the spectrum).
    """

    place: str
    prompt: str
    matrix: str
    values: Matrix


def read_matrices(place: str | Path) -> list[Named]:
    """What is measured of the prompts at `place`: see `runs.read_prompts` for what that can be.

    Raises:
        RankprobeError: no prompt there.
    """
    prompts = read_prompts(place)
    start = prompts.get("P0")
    found = []
    for name, P in prompts.items():
        found.append(Named(str(place), name, "P", P))
        if start is not None and name != "P0":
            found.append(Named(str(place), name, "dP", P.astype(np.float64) - start.astype(np.float64)))
        found.append(Named(str(place), name, "P_rows", _unit_rows(P)))
    return found


def analyze(places: Sequence[str | Path], seed: int = 0) -> pd.DataFrame:
    """Every measure of the prompts at `places`, each beside its nulls.

    Needs no backbone and no network. The nulls: `gaussian`, i.i.d. matrices of the same shape (measures do
    not depend on scale), and `shuffled`, the matrix with its entries in random order, 20 of each; for runs
    with a noise twin also `twin`, the same reading of the twin at the last step.

    Args:
        places: run folders, files and PEFT adapters, as `runs.read_prompts` takes them.
        seed: of the nulls.

    Returns:
        A row per place, prompt, matrix and measure: `value`, mean and standard deviation of each null,
        `twin`, and `effect`, (value − shuffled) in units of the standard deviation of `shuffled`.

    Raises:
        RankprobeError: no places, or no prompt at one of them.
    """
    if not places:
        raise RankprobeError("nothing to analyze; give run folders, files of prompts, or adapters")
    matrices = [each for place in places for each in read_matrices(place)]
    # One thread: with more on a busy machine, BLAS takes fifty times as long for matrices this small.
    with threadpool_limits(1, user_api="blas"):
        return pd.DataFrame([row for each in matrices for row in _rows(each, seed)])


def _rows(named: Named, seed: int) -> Iterator[dict[str, object]]:
    matrix = np.asarray(named.values, dtype=np.float64)
    shape = (matrix.shape[0], matrix.shape[1])
    s = singular_values(matrix)
    chance = gram_singular_values(shuffled(matrix, SHUFFLES, seed))
    edge = np.quantile(chance[:, 0], QUANTILE)
    own = _measured(s, shape, edge)
    nulls = {"shuffled": _measured(chance, shape, edge), "gaussian": _gaussian(shape, seed)}
    twin = _twin(named, shape)
    for name, value in own.items():
        row: dict[str, object] = {
            "place": named.place,
            "prompt": named.prompt,
            "matrix": named.matrix,
            "n": shape[0],
            "d": shape[1],
            "measure": name,
            "value": float(value),
        }
        for null, values in nulls.items():
            row |= {null: float(values[name].mean()), f"{null}_sd": float(values[name].std(ddof=1))}
        spread = nulls["shuffled"][name].std(ddof=1)
        effect = (float(value) - nulls["shuffled"][name].mean()) / spread if spread > 0 else np.nan
        yield row | {"effect": effect, "twin": float(twin.get(name, np.nan))}


def _measured(s: Matrix, shape: tuple[int, int], edge: float) -> dict[str, NDArray[np.float64]]:
    spectrum = np.asarray(s, dtype=np.float64)
    counted = (spectrum > edge).sum(-1).astype(float)
    return {**measure_spectrum(spectrum, shape), "permutation_edge": counted}


@cache
def _gaussian(shape: tuple[int, int], seed: int) -> dict[str, NDArray[np.float64]]:
    noise = np.random.default_rng(seed).standard_normal((GAUSSIANS, *shape))
    spectra = gram_singular_values(noise)
    return _measured(spectra, shape, np.quantile(spectra[:, 0], QUANTILE))


def _twin(named: Named, shape: tuple[int, int]) -> dict[str, float]:
    """The measures of the noise twin's matrix at the last step of a run, from its logged spectrum."""
    if named.prompt != "final" or named.matrix not in TWINS or not (Path(named.place) / MANIFEST).is_file():
        return {}
    log = Run(Path(named.place)).log("spectra")
    log = log[log["matrix"] == TWINS[named.matrix]] if len(log) else log
    if log.empty:
        return {}
    last = log[log["step"] == log["step"].max()].sort_values("index")
    found = measure_spectrum(last["value"].to_numpy(dtype=np.float64), shape)
    return {name: float(value) for name, value in found.items()}


def _unit_rows(P: Matrix) -> Matrix:
    lengths = np.linalg.norm(P.astype(np.float64), axis=1, keepdims=True)
    return np.divide(P, lengths, out=np.zeros(P.shape), where=lengths > 0)
