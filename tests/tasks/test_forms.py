"""Each task's rows, of the release and of the hub, become the text that T5 and the paper's code make of them."""

from __future__ import annotations

import re

import pytest

from rankprobe.errors import RankprobeError
from rankprobe.tasks import INVALID, TASKS
from rankprobe.tasks.multirc import without_markup
from rankprobe.tasks.record import without_highlights
from rankprobe.tasks.wsc import mark_pronoun, same_referent

PARAGRAPH = "<b>Sent 1: </b>It rained.<br><b>Sent 2: </b>We left.<br>"
PASSAGE = "Ann met Bob.\n@highlight\nBob paid Ann\n@highlight\nCid left"

# task: (a row of the official release, the same as hub rows, its sources, its targets as words and as digits)
FORMS = {
    "boolq": (
        {"question": "is it", "passage": "It is.", "label": True},
        [{"question": "is it", "passage": "It is.", "label": 1}],
        ["question: is it passage: It is."],
        (["True"], ["1"]),
    ),
    "cb": (
        {"premise": "P.", "hypothesis": "h", "label": "neutral"},
        [{"premise": "P.", "hypothesis": "h", "label": 2}],
        ["premise: P. hypothesis: h"],
        (["neutral"], ["2"]),
    ),
    "copa": (
        {"premise": "P.", "choice1": "A.", "choice2": "B.", "question": "cause", "label": 1},
        [{"premise": "P.", "choice1": "A.", "choice2": "B.", "question": "cause", "label": 1}],
        ["premise: P. choice1: A. choice2: B. question: cause"],
        (["choice2"], ["1"]),
    ),
    "multirc": (
        {
            "passage": {
                "text": PARAGRAPH,
                "questions": [
                    {"question": "Why?", "answers": [{"text": "rain", "label": 1}, {"text": "fun", "label": 0}]}
                ],
            }
        },
        [
            {"paragraph": PARAGRAPH, "question": "Why?", "answer": "rain", "label": 1},
            {"paragraph": PARAGRAPH, "question": "Why?", "answer": "fun", "label": 0},
        ],
        [f"question: Why? answer: {answer} paragraph: It rained. We left." for answer in ("rain", "fun")],
        (["True", "False"], ["1", "0"]),
    ),
    "record": (
        {
            "passage": {
                "text": PASSAGE,
                "entities": [{"start": 8, "end": 10}, {"start": 0, "end": 2}, {"start": 24, "end": 26}],
            },
            "qas": [{"query": "@placeholder was met.", "answers": [{"text": "Bob"}, {"text": "Bob"}]}],
        },
        [{"passage": PASSAGE, "query": "@placeholder was met.", "entities": ["Bob", "Ann"], "answers": ["Bob"]}],
        ["query: @placeholder was met. entities: Ann, Bob passage: Ann met Bob. Bob paid Ann. Cid left"],
        (["Bob"], ["Bob"]),
    ),
    "rte": (
        {"premise": "P.", "hypothesis": "H.", "label": "not_entailment"},
        [{"premise": "P.", "hypothesis": "H.", "label": 1}],
        ["premise: P. hypothesis: H."],
        (["not_entailment"], ["1"]),
    ),
    "wic": (
        {"word": "bank", "sentence1": "A bank.", "sentence2": "The bank.", "label": False},
        [{"word": "bank", "sentence1": "A bank.", "sentence2": "The bank.", "label": 0}],
        ["sentence1: A bank. sentence2: The bank. word: bank"],
        (["False"], ["0"]),
    ),
    "wsc": (
        {
            "text": "Ann paid Eve, because she was kind.",
            "target": {"span1_text": "Eve", "span1_index": 2, "span2_text": "she", "span2_index": 4},
            "label": True,
        },
        [{"text": "Ann paid Eve, because she was kind.", "span1_text": "Eve", "span2_text": "she", "span2_index": 4,
          "label": 1}],
        ["text: Ann paid Eve, because *she* was kind."],
        (["Eve"], ["Eve"]),
    ),
}  # fmt: skip


def test_every_task_is_here():
    assert FORMS.keys() == TASKS.keys()


@pytest.mark.parametrize("name", FORMS)
def test_both_layouts_give_the_same_text(name):
    task = TASKS[name]
    official, hub, sources, (words, digits) = FORMS[name]
    examples = task.examples(official, "here")
    assert examples == [example for row in hub for example in task.examples(row, "here")]
    assert [task.source(example.fields) for example in examples] == sources
    assert [task.target(example, "words") for example in examples] == words
    assert [task.target(example, "digits") for example in examples] == digits
    for style in ("words", "digits"):  # what is taught is what is accepted
        for example in examples:
            assert task.parse_answer(task.target(example, style), example, style) == example.label


@pytest.mark.parametrize("name", ["boolq", "cb", "copa", "multirc", "rte", "wic"])
def test_only_an_exact_label_is_an_answer(name):
    task = TASKS[name]
    (example, *_) = task.examples(FORMS[name][0], "here")
    for style in ("words", "digits"):
        label = task.target(example, style)
        for answer in ("", "?", f"{label} {label}", label[:-1], f"{label}s"):
            assert task.parse_answer(answer, example, style) == INVALID


def test_a_multirc_question_is_a_group():
    official = FORMS["multirc"][0]
    one, two = TASKS["multirc"].examples(official, "here")
    question = {"question": "How?", "answers": [{"text": "rain", "label": 0}]}
    other = {"passage": {"text": PARAGRAPH, "questions": [question]}}
    assert one.group == two.group != TASKS["multirc"].examples(other, "here")[0].group


def test_multirc_markup():
    assert without_markup("<b>Sent 10: </b>One.<br><b>Sent 11: </b>Two <b>bold</b>.<br>") == "One. Two bold ."
    assert without_markup("No markup: 3 < 4.") == "No markup: 3 < 4."


def test_wsc_learns_from_true_rows_only():
    official = FORMS["wsc"][0]
    (true,), (false,) = (TASKS["wsc"].examples({**official, "label": label}, "x") for label in (True, False))
    assert TASKS["wsc"].training_examples(true) == [true]
    assert TASKS["wsc"].training_examples(false) == []


@pytest.mark.parametrize(
    ("answer", "referent", "same"),
    [
        ("Bob", "bob", True),
        ("the old man", "man", True),
        ("man", "the old man", True),
        ("Bob", "Bob's hat", False),
        ("Bob", "Ann", False),
        ("", "Ann", False),
        ("the", "Ann", False),
    ],
)
def test_referents_match_as_in_t5(answer, referent, same):
    assert same_referent(answer, referent) is same


def test_the_pronoun_is_marked_where_it_stands():
    text = "He said that he (he!) and the heron left."
    assert mark_pronoun(text, "he", "3", "x") == "He said that *he* (he!) and the heron left."
    assert mark_pronoun(text, "he", "4", "x") == "He said that he (*he*!) and the heron left."
    assert (
        mark_pronoun(text, "he", "8", "x") == "He said that he (*he*!) and the heron left."
    )  # a miscounted row
    for pronoun, index, message in (
        ("she", "3", "here: field 'span2_text' is 'she', which does not occur in 'He said"),
        (
            "he",
            "9",
            "here: field 'span2_index' is 9; expected the index (from 0) of one of the 9 words of 'He said",
        ),
        ("he", "-1", "here: field 'span2_index' is -1; expected"),
        ("he", "third", "here: field 'span2_index' is third; expected"),
    ):
        with pytest.raises(RankprobeError, match=re.escape(message)):
            mark_pronoun(text, pronoun, index, "here")


@pytest.mark.parametrize(("start", "end"), [(0, 4), (-1, 1), (2, 1), (4, 4)])
def test_an_entity_lies_in_its_passage(start, end):
    row = {
        "passage": {"text": "Ann.", "entities": [{"start": start, "end": end}]},
        "qas": [{"query": "@placeholder", "answers": [{"text": "Ann"}]}],
    }
    message = f"x:7: field 'entities' has the span {start} to {end}; expected a span within the 4 characters"
    with pytest.raises(RankprobeError, match=message):
        TASKS["record"].examples(row, "x:7")


def test_record_teaches_each_answer_once():
    (example,) = TASKS["record"].examples({**FORMS["record"][1][0], "answers": ["Bob", "Ann", "Bob"]}, "x")
    assert [lesson.answers for lesson in TASKS["record"].training_examples(example)] == [("Ann",), ("Bob",)]


def test_record_answers_outside_the_entities_are_invalid():
    (example,) = TASKS["record"].examples(FORMS["record"][0], "x")
    assert [TASKS["record"].parse_answer(text, example, "words") for text in ("Ann", "Bob", "Cid", "")] == [
        0,
        0,
        -1,
        -1,
    ]


def test_record_highlights():
    assert without_highlights('She left."\n@highlight\nHe stayed') == 'She left." He stayed'
    assert without_highlights("She left\n@highlight\nHe stayed") == "She left. He stayed"


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("multirc", {"passage": {"text": "x"}}, "expected a passage with text, questions and their answers"),
        ("multirc", {"passage": "x"}, "expected a passage with text, questions and their answers"),
        ("record", {"passage": {"text": "x"}, "qas": []}, "expected a passage with text and entities"),
        ("record", {**FORMS["record"][1][0], "answers": []}, "field 'answers' is []; expected a list of texts"),
        ("record", {"passage": "x"}, "no field 'entities'"),
        ("wsc", {"text": "x", "span2_text": "he", "label": 1}, "no field 'span1_text'"),
        ("boolq", {"question": "q", "passage": "p", "label": "yes"}, "label 'yes' is not one of BoolQ's labels: 'False' (0), 'True' (1)"),
    ],
)  # fmt: skip
def test_rows_of_another_shape_are_named(name, row, message):
    with pytest.raises(RankprobeError, match=re.escape(f"rows.jsonl:7: {message}")):
        TASKS[name].examples(row, "rows.jsonl:7")


def test_the_authors_form():
    def first(name):
        task = TASKS[name].as_authors()
        (example, *_) = task.examples(FORMS[name][0], "here")
        return task.source(example.fields)

    assert first("cb") == "superglue-cb premise: P. hypothesis: h"
    assert first("copa") == "superglue-copa premise: P. choice1: A. choice2: B."
    assert first("wsc") == "superglue-wsc.fixed text: Ann paid Eve, because *she* was kind."


def test_any_verbalizer():
    task = TASKS["cb"]
    (example,) = task.examples(FORMS["cb"][0], "here")
    assert task.target(example, "yes, no,maybe") == "maybe"
    assert [
        task.parse_answer(text, example, "yes,no,maybe") for text in ("yes", "no", "maybe", "2", "neutral")
    ] == [
        0,
        1,
        2,
        -1,
        -1,
    ]
    for targets in ("yes,no", "yes,no,no", "yes,no,", "letters"):
        with pytest.raises(
            RankprobeError,
            match=re.escape(f"targets is '{targets}'; expected digits, words, or 3 different words"),
        ):
            task.target(example, targets)
    assert TASKS["record"].answer_set("yes,no") == []
