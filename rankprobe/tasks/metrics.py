"""Scores of a whole split at once, from its answers. Percentages, as the paper prints them."""

from __future__ import annotations

import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from rankprobe.tasks.base import INVALID, Example, Task


@dataclass(frozen=True)
class Sheet:
    """A split's examples, the answer to each, and the class id that each answer stands for.

    `draws` tells the copies of a question apart where rows were drawn with replacement; empty: each row is
    there once.
    """

    examples: Sequence[Example]
    answers: Sequence[str]
    predicted: Sequence[int]
    n_labels: int
    draws: Sequence[Hashable] = ()

    @property
    def gold(self) -> list[int]:
        return [example.label for example in self.examples]

    def questions(self) -> list[Hashable]:
        """For each row, the question it answers; a row without a group is a question of its own."""
        draws = self.draws or [0] * len(self.examples)
        pairs = zip(self.examples, draws, strict=True)
        return [(example.group or row, draw) for row, (example, draw) in enumerate(pairs)]

    def take(self, rows: Sequence[int]) -> Sheet:
        """The sheet of some of the rows; a row may come several times, and each copy counts."""
        times, draws = Counter[int](), list[Hashable]()
        for row in rows:
            draws.append((self.draws[row] if self.draws else 0, times[row]))
            times[row] += 1
        return Sheet(
            [self.examples[row] for row in rows],
            [self.answers[row] for row in rows],
            [self.predicted[row] for row in rows],
            self.n_labels,
            draws,
        )


def accuracy(sheet: Sheet) -> float:
    """Percentage of rows answered rightly."""
    from sklearn.metrics import accuracy_score

    return 100 * float(accuracy_score(sheet.gold, sheet.predicted))


def macro_f1(sheet: Sheet) -> float:
    """Unweighted mean of the labels' F1, in percent; a label that is neither present nor predicted gives 0.

    Invalid answers lower recall and belong to no label, as in SuperGLUE's own CB score.
    """
    return _f1(sheet, labels=list(range(sheet.n_labels)))


def f1_answers(sheet: Sheet) -> float:
    """F1 of the label with id 1 over all rows, in percent: MultiRC's F1a."""
    return _f1(sheet, labels=[1])


def _f1(sheet: Sheet, labels: list[int]) -> float:
    from sklearn.metrics import f1_score

    zero: Any = 0  # scikit-learn's annotation leaves numbers out
    value = f1_score(sheet.gold, sheet.predicted, labels=labels, average="macro", zero_division=zero)
    return 100 * float(value)


def exact_match_questions(sheet: Sheet) -> float:
    """Percentage of questions all of whose answers are judged rightly: MultiRC's EM."""
    right: dict[Hashable, bool] = defaultdict(lambda: True)
    for question, gold, predicted in zip(sheet.questions(), sheet.gold, sheet.predicted, strict=True):
        right[question] &= predicted == gold
    return 100 * sum(right.values()) / len(right)


def token_f1(sheet: Sheet) -> float:
    """Mean over rows of the best word F1 with an accepted answer, in percent: ReCoRD's F1."""
    return _mean_of_best(sheet, _word_f1)


def exact_match(sheet: Sheet) -> float:
    """Percentage of rows whose answer equals an accepted one, in SQuAD's normal form: ReCoRD's EM."""
    return _mean_of_best(
        sheet, lambda given, accepted: float(_normal_words(given) == _normal_words(accepted))
    )


def rouge_l(sheet: Sheet) -> float:
    """Mean over rows of the best ROUGE-L F (Lin 2004) with an accepted answer, in percent; no stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    return _mean_of_best(sheet, lambda given, accepted: scorer.score(accepted, given)["rougeL"].fmeasure)


def _mean_of_best(sheet: Sheet, similarity: Callable[[str, str], float]) -> float:
    best = [
        max(similarity(given, accepted) for accepted in example.answers)
        for example, given in zip(sheet.examples, sheet.answers, strict=True)
    ]
    return 100 * sum(best) / len(best)


def _normal_words(text: str) -> list[str]:
    """SQuAD's normal form (Rajpurkar et al. 2016): no case, no punctuation, no articles."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _word_f1(given: str, accepted: str) -> float:
    mine, theirs = Counter(_normal_words(given)), Counter(_normal_words(accepted))
    common = sum((mine & theirs).values())
    return 2 * common / (mine.total() + theirs.total()) if common else 0.0


LABEL_METRICS: dict[str, Callable[[Sheet], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "f1_answers": f1_answers,
    "exact_match_questions": exact_match_questions,
}
TEXT_METRICS: dict[str, Callable[[Sheet], float]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
}
METRICS = LABEL_METRICS | TEXT_METRICS


@dataclass(frozen=True)
class Score:
    """Each metric of a task in percent, and how many answers were outside the label set."""

    values: dict[str, float]
    n_invalid: int


def judged(task: Task, examples: Sequence[Example], answers: Sequence[str], targets: str) -> Sheet:
    """The answers to a whole split, one text per example, with the classes they stand for."""
    pairs = zip(examples, answers, strict=True)
    predicted = [task.read(answer, example, targets) for example, answer in pairs]
    return Sheet(examples, answers, predicted, len(task.labels))


def score(task: Task, examples: Sequence[Example], answers: Sequence[str], targets: str) -> Score:
    """Score the answers to a whole split, one text per example."""
    sheet = judged(task, examples, answers, targets)
    values = {name: METRICS[name](sheet) for name in task.metrics}
    return Score(values, list(sheet.predicted).count(INVALID))


def majority_scores(task: Task, examples: Sequence[Example], targets: str) -> dict[str, float]:
    """What can be scored without reading, per metric: the best of always giving the same label.

    For accuracy that is the majority rate; for MultiRC's F1 it is always saying true. For ReCoRD it is the
    entity that the passage mentions most.
    """
    sheets = [score(task, examples, sheet, targets).values for sheet in task.blind_answers(examples, targets)]
    return {name: max(values[name] for values in sheets) for name in task.metrics}
