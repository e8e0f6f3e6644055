"""Metrics of a whole split, computed from the answers to all its rows, in percent."""

from __future__ import annotations

import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rankprobe.tasks.base import INVALID, Example, Task


@dataclass(frozen=True)
class Predictions:
    """The answers to a split's examples.

    Attributes:
        examples: the examples.
        answers: the text of each answer.
        predicted: the class id of each answer; see `Task.parse_answer`.
        n_labels: number of labels of the task.
        draws: for rows drawn with replacement, a key per row that differs between copies of a row; empty if
            every row occurs once, or is a question of its own.
    """

    examples: Sequence[Example]
    answers: Sequence[str]
    predicted: Sequence[int]
    n_labels: int
    draws: Sequence[Hashable] = ()

    @property
    def gold(self) -> list[int]:
        """The correct class id of each row."""
        return [example.label for example in self.examples]

    @cached_property
    def _grouped(self) -> bool:
        return any(example.group for example in self.examples)

    def questions(self) -> list[Hashable]:
        """A key of each row's question. A row without a group is a question of its own."""
        draws = self.draws or [0] * len(self.examples)
        pairs = zip(self.examples, draws, strict=True)
        return [(example.group or row, draw) for row, (example, draw) in enumerate(pairs)]

    def take(self, rows: Sequence[int]) -> Predictions:
        """The predictions for some rows; a row may occur several times, and each copy counts."""
        copies, draws = Counter[int](), list[Hashable]()
        for row in rows if self._grouped else ():  # else each copy is a question of its own anyway
            draws.append((self.draws[row] if self.draws else 0, copies[row]))
            copies[row] += 1
        return Predictions(
            [self.examples[row] for row in rows],
            [self.answers[row] for row in rows],
            [self.predicted[row] for row in rows],
            self.n_labels,
            draws,
        )


def accuracy(predictions: Predictions) -> float:
    """Percentage of rows answered correctly."""
    pairs = zip(predictions.gold, predictions.predicted, strict=True)
    return 100 * (sum(gold == predicted for gold, predicted in pairs) / len(predictions.predicted))


def macro_f1(predictions: Predictions) -> float:
    """Unweighted mean of the labels' F1, in percent; 0 for a label that is neither present nor predicted.

    An invalid answer lowers the recall of the correct label, and no precision, as in SuperGLUE's official CB
    score.
    """
    return _f1(predictions, labels=list(range(predictions.n_labels)))


def f1_answers(predictions: Predictions) -> float:
    """F1 of the label with id 1 over all rows, in percent: MultiRC's F1a."""
    return _f1(predictions, labels=[1])


def _f1(predictions: Predictions, labels: list[int]) -> float:
    """Mean over `labels` of F1 = 2 · correct / (present + predicted), in percent."""
    gold, predicted = predictions.gold, predictions.predicted
    correct = Counter(one for one, other in zip(gold, predicted, strict=True) if one == other)
    total = Counter(gold) + Counter(predicted)
    values = [2 * correct[label] / total[label] if total[label] else 0.0 for label in labels]
    return 100 * float(np.mean(values))


def exact_match_questions(predictions: Predictions) -> float:
    """Percentage of questions whose answers are all classified correctly: MultiRC's EM."""
    correct: dict[Hashable, bool] = defaultdict(lambda: True)
    for question, gold, predicted in zip(
        predictions.questions(), predictions.gold, predictions.predicted, strict=True
    ):
        correct[question] &= predicted == gold
    return 100 * sum(correct.values()) / len(correct)


def token_f1(predictions: Predictions) -> float:
    """Mean over rows of the best word F1 with an accepted answer, in percent: ReCoRD's F1."""
    return _mean_of_best(predictions, _word_f1)


def exact_match(predictions: Predictions) -> float:
    """Percentage of rows whose answer equals an accepted answer after SQuAD's normalization: ReCoRD's EM."""
    return _mean_of_best(
        predictions, lambda answer, accepted: float(_normalized_words(answer) == _normalized_words(accepted))
    )


def rouge_l(predictions: Predictions) -> float:
    """Mean over rows of the best ROUGE-L F (Lin 2004) with an accepted answer, in percent.

    Words are runs of a-z and 0-9 without case, and there is no stemming, as in the package rouge-score.
    """
    return _mean_of_best(predictions, _rouge_l)


def _rouge_l(answer: str, accepted: str) -> float:
    """The harmonic mean of precision and recall of the longest common subsequence of words."""
    words, accepted_words = (re.findall(r"[a-z0-9]+", text.lower()) for text in (answer, accepted))
    lengths = [0] * (len(accepted_words) + 1)  # of the longest one with each beginning of the accepted answer
    for word in words:
        before = lengths
        lengths = [0]
        for place, other in enumerate(accepted_words):
            longest = max(before[place + 1], lengths[place])
            lengths.append(before[place] + 1 if word == other else longest)
    if not lengths[-1]:
        return 0.0
    precision, recall = lengths[-1] / len(words), lengths[-1] / len(accepted_words)
    return 2 * precision * recall / (precision + recall)


def _mean_of_best(predictions: Predictions, similarity: Callable[[str, str], float]) -> float:
    best = [
        max(similarity(answer, accepted) for accepted in example.answers)
        for example, answer in zip(predictions.examples, predictions.answers, strict=True)
    ]
    return 100 * sum(best) / len(best)


def _normalized_words(text: str) -> list[str]:
    """The words without case, punctuation and articles: SQuAD's normalization (Rajpurkar et al. 2016)."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _word_f1(answer: str, accepted: str) -> float:
    counts, accepted_counts = Counter(_normalized_words(answer)), Counter(_normalized_words(accepted))
    common = (counts & accepted_counts).total()
    return 2 * common / (counts.total() + accepted_counts.total()) if common else 0.0


LABEL_METRICS: dict[str, Callable[[Predictions], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "f1_answers": f1_answers,
    "exact_match_questions": exact_match_questions,
}
TEXT_METRICS: dict[str, Callable[[Predictions], float]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
}
METRICS = LABEL_METRICS | TEXT_METRICS


@dataclass(frozen=True)
class Score:
    """The value of each metric in percent, and the number of answers outside the label set."""

    values: dict[str, float]
    n_invalid: int


def parse_predictions(
    task: Task, examples: Sequence[Example], answers: Sequence[str], targets: str
) -> Predictions:
    """Parse the answers to a whole split, one text per example, into class ids."""
    pairs = zip(examples, answers, strict=True)
    predicted = [task.parse_answer(answer, example, targets) for example, answer in pairs]
    return Predictions(examples, answers, predicted, len(task.labels))


def score(task: Task, examples: Sequence[Example], answers: Sequence[str], targets: str) -> Score:
    """Score the answers to a whole split, one text per example."""
    predictions = parse_predictions(task, examples, answers, targets)
    values = {name: METRICS[name](predictions) for name in task.metrics}
    return Score(values, list(predictions.predicted).count(INVALID))


def baseline_scores(task: Task, examples: Sequence[Example], targets: str) -> dict[str, float]:
    """The best score of answers that ignore the texts, per metric; see `Task.constant_baselines`.

    Accuracy: the majority-class rate. MultiRC's F1: answering True everywhere. ReCoRD: the entity that the
    passage mentions most often.
    """
    scores = [
        score(task, examples, answers, targets).values
        for answers in task.constant_baselines(examples, targets)
    ]
    return {name: max(values[name] for values in scores) for name in task.metrics}
