"""Tests whether prompts for related tasks share directions of embedding space."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from rankprobe.errors import RankprobeError
from rankprobe.rank.spectra import finite_matrix

DRAWS = 9999
"""The number of random assignments of kinds to tasks in `related_test`."""

Overlaps = Float64[np.ndarray, "m m"]
"""A symmetric matrix with one number per pair of prompts; its diagonal is not used."""


@dataclass(frozen=True)
class RelatedTest:
    """Pairs of one kind compared with all other pairs; see `related_test`.

    Attributes:
        prompts: the number of prompts that have a kind.
        related, other: the number of pairs within one kind, and of two kinds.
        related_mean, other_mean: the mean over these pairs.
        p: one-sided; NaN if there are no pairs on one side.
    """

    prompts: int
    related: int
    other: int
    related_mean: float
    other_mean: float
    p: float


def leading_directions(matrix: Num[np.ndarray, "n d"], k: int) -> Float64[np.ndarray, "{k} d"]:
    """Return the first k right singular vectors of a matrix (n, d), as `directions` does, but faster.

    They come from the eigenvectors of the Gram matrix (n, n). A direction whose singular value is below 1e-6
    of the largest one would be inaccurate, so it is refused.

    Raises:
        RankprobeError: the matrix has fewer than k such directions.
    """
    m = finite_matrix(matrix)
    largest = abs(m).max(initial=0)
    m = m / largest if largest > 0 else m  # squares must not overflow
    energy, left = np.linalg.eigh(m @ m.T)
    s = np.sqrt(np.maximum(energy[::-1], 0))
    rank = int((s > 1e-6 * s[:1].sum()).sum())
    if not 0 < k <= min(rank, m.shape[1]):
        raise RankprobeError(f"{k} directions of a matrix {m.shape} of rank {rank}; expected 1 to {rank}")
    return (left[:, ::-1][:, :k] / s[:k]).T @ m


def subspace_overlaps(
    bases: Sequence[Num[np.ndarray, "k d"]], others: Sequence[Num[np.ndarray, "k d"]] | None = None
) -> Overlaps:
    """Return `phi` of each pair of subspaces, given by orthonormal bases (k, d) of the same k and d.

    With `others`, a second subspace of each prompt, the number of a pair is the mean of φ(one, second of the
    other) and φ(second of the one, other).
    """
    m, (k, d) = len(bases), bases[0].shape
    left = np.asarray(bases, dtype=np.float64).reshape(m * k, d)
    right = left if others is None else np.asarray(others, dtype=np.float64).reshape(m * k, d)
    overlaps = np.square((left @ right.T).reshape(m, k, m, k)).sum(axis=(1, 3)) / k
    return (overlaps + overlaps.T) / 2


def position_cosines(
    one: Num[np.ndarray, "n d"], other: Num[np.ndarray, "n d"]
) -> Float64[np.ndarray, "n n"]:
    """Return the cosine of each row of `one` with each row of `other`; 0 for a row of zeros."""
    lengths = [np.linalg.norm(m.astype(np.float64), axis=1, keepdims=True) for m in (one, other)]
    rows = [
        np.divide(m, length, out=np.zeros(m.shape), where=length > 0)
        for m, length in zip((one, other), lengths, strict=True)
    ]
    return rows[0] @ rows[1].T


def shuffled_within_rows(
    matrix: Num[np.ndarray, "n d"], rng: np.random.Generator
) -> Float64[np.ndarray, "n d"]:
    """Return a copy with the entries of each row in random order, each row in an order of its own.

    It keeps the entries and the length of each row, and loses the directions. (The order of the rows itself
    does not matter for directions: a matrix and its rows in another order have the same ones.)
    """
    return rng.permuted(np.asarray(matrix, dtype=np.float64), axis=1)


def off_diagonal_mean(overlaps: Overlaps) -> float:
    """Return the mean over all pairs; NaN for fewer than two prompts."""
    m = len(overlaps)
    return float((overlaps.sum() - np.trace(overlaps)) / (m * (m - 1))) if m > 1 else float("nan")


def related_test(
    overlaps: Overlaps, kinds: Sequence[Hashable | None], draws: int = DRAWS, seed: int = 0
) -> RelatedTest:
    """Test whether pairs of prompts for tasks of one kind overlap more than pairs of two kinds.

    The statistic is the difference of the two means. Under the null, the kinds are exchangeable over the
    tasks, so the kinds are assigned to the prompts in random order, `draws` times, and
    p = (1 + number of differences that are at least as large) / (1 + draws). This is the permutation test of
    Mantel (1967) for a matrix of pairs; it respects that the pairs of one prompt depend on each other.
    All that the prompts of a model share whatever their task, such as the initial prompt or the geometry of
    the vocabulary, is in both means.

    Args:
        overlaps: a number per pair.
        kinds: the kind of each prompt; prompts with None are left out.
        draws: the number of random assignments.
        seed: of the assignments.

    Raises:
        RankprobeError: the number of kinds is not the number of prompts.
    """
    if len(kinds) != len(overlaps):
        raise RankprobeError(f"{len(kinds)} kinds for {len(overlaps)} prompts; give one kind per prompt")
    known = [i for i, kind in enumerate(kinds) if kind is not None]
    m = len(known)
    numbers = np.array([sorted({str(kind) for kind in kinds}).index(str(kinds[i])) for i in known], dtype=int)
    one, other = np.triu_indices(m, k=1)
    values = overlaps[np.ix_(known, known)][one, other]
    related = numbers[one] == numbers[other]
    n_related, n_other = int(related.sum()), int((~related).sum())
    if not n_related or not n_other:
        means = [float(values[part].mean()) if part.any() else float("nan") for part in (related, ~related)]
        return RelatedTest(m, n_related, n_other, *means, p=float("nan"))
    assigned = np.random.default_rng(seed).permuted(np.tile(numbers, (draws, 1)), axis=1)
    # All assignments have as many related pairs, so the sum over them orders the differences of the means.
    sums = (assigned[:, one] == assigned[:, other]) @ values
    # The margin keeps equal sums equal, whatever the order of their terms.
    extreme = int((sums >= values[related].sum() - 1e-9 * abs(values).sum()).sum())
    return RelatedTest(
        prompts=m,
        related=n_related,
        other=n_other,
        related_mean=float(values[related].mean()),
        other_mean=float(values[~related].mean()),
        p=(1 + extreme) / (1 + draws),
    )
