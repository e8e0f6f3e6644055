"""Winograd Schema Challenge (Levesque et al. 2012), in T5's form: what does a pronoun refer to?

Training uses only the rows with label True (259 of 554, the paper's count), because a row with label False
does not give the correct noun phrase. The class of an answer is True if it refers to the row's noun phrase,
and False otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rankprobe.errors import RankprobeError
from rankprobe.tasks.base import Example, Row, Task, normalized_label

DETERMINERS = frozenset(
    (
        "a an few her his each every many much my our some that the their these this those which whose your"
    ).split()
)


class _WSC(Task):
    def flatten(self, row: Row, where: str) -> list[Row]:
        target = row.get("target")
        return [{**row, **target}] if isinstance(target, dict) else [row]

    def example(self, row: Row, where: str) -> Example:
        text, pronoun = self.text_field(row, "text", where), self.text_field(row, "span2_text", where)
        referent = self.text_field(row, "span1_text", where)
        index = normalized_label(self.required_field(row, "span2_index", where))
        marked = mark_pronoun(text, pronoun, index, where)
        label = self.label_id(self.required_field(row, "label", where), where)
        return Example({"text": marked}, label, (referent,))

    def placeholder(self) -> Row:
        return {"label": 0, "span1_text": "it"}

    @property
    def answer_source(self) -> str:
        return "the noun phrase of each row"

    def answer_set(self, targets: str) -> list[str]:
        return []

    def target(self, example: Example, targets: str) -> str:
        return example.answers[0]

    def parse_answer(self, answer: str, example: Example, targets: str) -> int:
        return int(same_referent(answer, example.answers[0]))

    def constant_baselines(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        return [[""] * len(examples), [example.answers[0] for example in examples]]

    def training_examples(self, example: Example) -> list[Example]:
        return [example] if example.label else []


def mark_pronoun(text: str, pronoun: str, index: str, where: str) -> str:
    """The text with stars around the pronoun.

    Some official rows have a wrong index, so the occurrence of `pronoun` nearest to word `index` is marked.

    Raises:
        RankprobeError: the index is outside the text, or the text does not contain the pronoun.
    """
    starts = [m.start() for m in re.finditer(rf"\b{re.escape(pronoun)}\b", text)]
    if index not in map(str, range(len(text.split()))):
        raise RankprobeError(
            f"{where}: field 'span2_index' is {index}; expected the index (from 0) of one of "
            f"the {len(text.split())} words of {text!r}"
        )
    if not starts:
        raise RankprobeError(f"{where}: field 'span2_text' is {pronoun!r}, which does not occur in {text!r}")
    at = min(starts, key=lambda start: abs(len(re.findall(r"\s+", text[:start])) - int(index)))
    return f"{text[:at]}*{pronoun}*{text[at + len(pronoun) :]}"


def same_referent(answer: str, referent: str) -> bool:
    """Whether two noun phrases mean the same, by T5's rule (`wsc_simple`).

    After removal of case and determiners, the words of one must be a subset of the other's. A possessive
    never matches a name. Differs from T5: an empty answer never matches.
    """
    answer_words, referent_words = (set(text.lower().split()) - DETERMINERS for text in (answer, referent))
    if not answer_words or ("'" in answer) != ("'" in referent):
        return False
    return answer_words <= referent_words or referent_words <= answer_words


WSC = _WSC(
    name="wsc",
    folder="WSC",
    title="WSC",
    template="text: {text}",
    long_field="text",
    truncation_side="left",
    labels=("False", "True"),
    metrics=("accuracy",),
    hub_name="wsc.fixed",
)
