"""Scores against hand counts, scikit-learn and rouge-score."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, f1_score

from rankprobe.tasks import TASKS, baseline_scores, parse_predictions, score
from rankprobe.tasks.base import Example
from rankprobe.tasks.metrics import (
    Predictions,
    accuracy,
    exact_match_questions,
    f1_answers,
    macro_f1,
    rouge_l,
)

CB, MULTIRC, RECORD, WSC = (TASKS[name] for name in ("cb", "multirc", "record", "wsc"))


def labelled(gold, groups=None):
    return [
        Example({}, label, group=group) for label, group in zip(gold, groups or [""] * len(gold), strict=True)
    ]


def test_cb_by_hand():
    examples = labelled([0, 0, 1, 2])
    found = score(CB, examples, ["0", "1", "1", "maybe"], "digits")
    assert found.n_invalid == 1
    # F1: entailment 2/3, contradiction 2/3, neutral 0
    assert found.values == pytest.approx({"accuracy": 50.0, "macro_f1": 100 * 4 / 9})
    perfect = score(CB, examples, ["0", "0", "1", "2"], "digits")
    assert perfect.values == {"accuracy": 100.0, "macro_f1": 100.0}


def test_multirc_by_hand():
    examples = labelled([1, 0, 1, 0, 0], ["a", "a", "b", "b", "b"])
    # Of two true answers one is found, and one false answer is called true: F1 = 2·1 / (2 + 2).
    found = score(MULTIRC, examples, ["True", "False", "False", "True", "False"], "words")
    assert found.values == {"f1_answers": 50.0, "exact_match_questions": 50.0}
    assert (
        score(MULTIRC, examples, ["1", "0", "1", "0", "0"], "digits").values["exact_match_questions"] == 100
    )


def test_record_by_hand():
    fields = {"passage": "Bob saw Ann Lee. Bob left New York."}
    entities = ("Ann Lee", "Bob", "New York")
    examples = [Example(fields, 0, accepted, entities) for accepted in (("Ann Lee", "Bob"), ("New York",))]
    found = score(RECORD, examples, ["ann", "The New York!"], "words")
    # F1 of "ann" with "Ann Lee" is 2/3; articles, case and punctuation do not count.
    assert found.values == pytest.approx({"token_f1": 100 * (2 / 3 + 1) / 2, "exact_match": 50.0})
    assert found.n_invalid == 2
    assert score(RECORD, examples, ["Bob", ""], "words").values == {"token_f1": 50.0, "exact_match": 50.0}
    # Without reading: Bob is mentioned most.
    assert baseline_scores(RECORD, examples, "words") == {"token_f1": 50.0, "exact_match": 50.0}


def test_wsc_by_hand():
    examples = [Example({"text": ""}, label, (name,)) for label, name in ((1, "Ann"), (0, "Bob"), (0, "Cid"))]
    found = score(WSC, examples, ["Ann", "Bob", "Dan"], "digits")
    assert found.values["accuracy"] == pytest.approx(200 / 3)
    assert baseline_scores(WSC, examples, "digits")["accuracy"] == pytest.approx(200 / 3)
    assert baseline_scores(WSC, examples[:1], "digits")["accuracy"] == 100.0


def test_majority_is_the_best_of_saying_always_the_same():
    assert baseline_scores(CB, labelled([1, 1, 1, 0]), "words") == pytest.approx(
        {"accuracy": 75.0, "macro_f1": 100 * (6 / 7) / 3}
    )
    # Mostly false: always saying true still has the better F1, and no question is ever all right.
    found = baseline_scores(MULTIRC, labelled([0, 0, 1, 0], ["a", "b", "a", "b"]), "digits")
    assert found == {"f1_answers": pytest.approx(40.0), "exact_match_questions": 50.0}


def test_official_majority(superglue):
    from rankprobe.tasks import load_split

    examples = load_split(CB, "validation", str(superglue)).examples
    assert baseline_scores(CB, examples, "digits")["accuracy"] == 50.0


def test_rows_without_a_question_are_each_their_own():
    """As in a task of one's own, which may choose this metric."""
    found = parse_predictions(CB, labelled([0, 1, 2, 0]), ["0", "1", "2", "1"], "digits")
    assert exact_match_questions(found) == 75.0


def test_a_question_that_is_drawn_twice_counts_twice():
    examples = labelled([1, 0, 1, 1], ["a", "a", "b", "b"])
    predictions = parse_predictions(MULTIRC, examples, ["1", "0", "1", "0"], "digits")  # a is right, b is not
    assert exact_match_questions(predictions) == 50.0
    twice = predictions.take([0, 1, 0, 1, 2, 3])
    assert exact_match_questions(twice) == pytest.approx(200 / 3)
    assert exact_match_questions(twice.take([0, 1, 4, 5])) == 50.0  # one of the copies of a, and b
    again = predictions.take([2, 3, 2, 3, 0, 1])
    assert exact_match_questions(again) == pytest.approx(100 / 3)


ANSWERS = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=60)
WORDS = st.text(st.sampled_from("abAB1 -_.é\n"), max_size=30)


@given(ANSWERS)
def test_accuracy_and_f1_equal_those_of_scikit_learn(rows):
    """Bit for bit; -1 is an answer outside the label set."""
    gold, predicted = map(list, zip(*rows, strict=True))
    predictions = Predictions(labelled(gold), [""] * len(gold), predicted, 3)
    options = {"average": "macro", "zero_division": 0}
    assert accuracy(predictions) == 100 * accuracy_score(gold, predicted)
    assert macro_f1(predictions) == 100 * f1_score(gold, predicted, labels=[0, 1, 2], **options)
    assert f1_answers(predictions) == 100 * f1_score(gold, predicted, labels=[1], **options)


@given(WORDS, WORDS)
def test_rouge_l_equals_that_of_rouge_score(answer, accepted):
    expected = RougeScorer(["rougeL"]).score(accepted, answer)["rougeL"].fmeasure
    predictions = Predictions([Example({}, 0, (accepted,))], [answer], [0], 0)
    assert rouge_l(predictions) == 100 * expected
