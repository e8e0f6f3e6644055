"""Winograd Schema Challenge (Levesque et al. 2012), as T5 does it: whom does the marked pronoun mean?

Only true rows can be learned from, since a false one says whom the pronoun does not mean (259 of 554, the
paper's count). An answer that means the row's noun phrase says True, any other False.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rankprobe.errors import RankprobeError
from rankprobe.tasks.base import Example, Row, Task, label_text, need, text_field

DETERMINERS = frozenset(
    (
        "a an few her his each every many much my our some that the their these this those which whose your"
    ).split()
)


class _WSC(Task):
    def flat(self, row: Row, where: str) -> list[Row]:
        target = row.get("target")
        return [{**row, **target}] if isinstance(target, dict) else [row]

    def example(self, row: Row, where: str) -> Example:
        text, pronoun = text_field(self, row, "text", where), text_field(self, row, "span2_text", where)
        referent = text_field(self, row, "span1_text", where)
        marked = mark(text, pronoun, label_text(need(self, row, "span2_index", where)), where)
        return Example({"text": marked}, self.label_id(need(self, row, "label", where), where), (referent,))

    def stand_in(self) -> Row:
        return {"label": 0, "span1_text": "it"}

    @property
    def answers_from(self) -> str:
        return "the noun phrase of each row"

    def answer_set(self, targets: str) -> list[str]:
        return []

    def target(self, example: Example, targets: str) -> str:
        return example.answers[0]

    def read(self, answer: str, example: Example, targets: str) -> int:
        return int(same_referent(answer, example.answers[0]))

    def blind_answers(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        return [[""] * len(examples), [example.answers[0] for example in examples]]

    def lessons(self, example: Example) -> list[Example]:
        return [example] if example.label else []


def mark(text: str, pronoun: str, index: str, where: str) -> str:
    """The text with stars around the pronoun, which is word number `index`.

    Some official rows miscount; the occurrence nearest to `index` is taken.

    Raises:
        RankprobeError: the index is outside the text, or the pronoun is nowhere in it.
    """
    found = [m.start() for m in re.finditer(rf"\b{re.escape(pronoun)}\b", text)]
    if index not in map(str, range(len(text.split()))):
        raise RankprobeError(
            f"{where}: field 'span2_index' is {index}; expected the number of one of the {len(text.split())} "
            f"words of {text!r}, from 0"
        )
    if not found:
        raise RankprobeError(f"{where}: field 'span2_text' is {pronoun!r}, which does not occur in {text!r}")
    at = min(found, key=lambda start: abs(len(re.findall(r"\s+", text[:start])) - int(index)))
    return f"{text[:at]}*{pronoun}*{text[at + len(pronoun) :]}"


def same_referent(answer: str, referent: str) -> bool:
    """T5's rule (`wsc_simple`): without case and determiners, one's words are a subset of the other's.

    A possessive never equals a name. Differs from T5 in one case: an empty answer refers to nobody.
    """

    def clean(text: str) -> list[str]:
        return [word for word in text.strip().lower().split() if word not in DETERMINERS]

    given, wanted = set(clean(answer)), set(clean(referent))
    if not given or ("'" in answer) != ("'" in referent):
        return False
    return given <= wanted or wanted <= given


WSC = _WSC(
    name="wsc",
    folder="WSC",
    title="WSC",
    template="text: {text}",
    long_field="text",
    keep="end",
    labels=("False", "True"),
    metrics=("accuracy",),
    hub_name="wsc.fixed",
)
