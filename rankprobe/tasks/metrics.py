"""Scores of a whole split at once, from class ids. Percentages, as the paper prints them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

INVALID = -1
"""Class id of a prediction outside the label set. It counts as wrong, and is counted."""


def accuracy(gold: Sequence[int], predicted: Sequence[int], n_labels: int) -> float:
    """Percentage of rows predicted correctly."""
    from sklearn.metrics import accuracy_score

    return 100 * float(accuracy_score(gold, predicted))


def macro_f1(gold: Sequence[int], predicted: Sequence[int], n_labels: int) -> float:
    """Unweighted mean of the labels' F1, in percent; a label that is neither present nor predicted gives 0.

    Invalid predictions lower recall and belong to no label, as in SuperGLUE's own CB score.
    """
    from sklearn.metrics import f1_score

    zero: Any = 0  # scikit-learn's annotation leaves numbers out
    labels = list(range(n_labels))
    return 100 * float(f1_score(gold, predicted, labels=labels, average="macro", zero_division=zero))


METRICS: dict[str, Callable[[Sequence[int], Sequence[int], int], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
}


def score(
    metrics: Sequence[str], gold: Sequence[int], predicted: Sequence[int], n_labels: int
) -> dict[str, float]:
    """Each named metric of a split's predictions (class ids, or `INVALID`)."""
    return {name: METRICS[name](gold, predicted, n_labels) for name in metrics}


def majority_scores(metrics: Sequence[str], gold: Sequence[int], n_labels: int) -> dict[str, float]:
    """What always answering the split's most frequent label would score."""
    (most_frequent, _), *_ = Counter(gold).most_common(1)
    return score(metrics, gold, [most_frequent] * len(gold), n_labels)
