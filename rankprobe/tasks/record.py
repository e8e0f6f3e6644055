"""ReCoRD (Zhang et al. 2018): which entity of the passage fills the gap in the query?

Training has one example per correct entity. An answer gets its best score over all correct entities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rankprobe.errors import RankprobeError
from rankprobe.tasks.base import INVALID, Example, Row, Task, is_text, short_repr


class _ReCoRD(Task):
    def flatten(self, row: Row, where: str) -> list[Row]:
        if "qas" not in row:
            return [row]
        try:
            text = row["passage"]["text"]
            entities = [self._span(text, e["start"], e["end"], where) for e in row["passage"]["entities"]]
            return [
                {
                    "passage": text,
                    "query": question["query"],
                    "entities": entities,
                    "answers": [answer["text"] for answer in question["answers"]],
                }
                for question in row["qas"]
            ]
        except (KeyError, TypeError) as error:
            raise RankprobeError(
                f"{where}: expected a passage with text and entities, and qas with query and answers "
                f"({error!r} is missing)"
            ) from None

    def example(self, row: Row, where: str) -> Example:
        entities, answers = self._texts(row, "entities", where), self._texts(row, "answers", where)
        fields = {
            "query": self.text_field(row, "query", where),
            "entities": ", ".join(entities),
            "passage": without_highlights(self.text_field(row, "passage", where)),
        }
        return Example(fields, 0, tuple(answers), tuple(entities))

    def _span(self, text: str, start: int, end: int, where: str) -> str:
        """The text of an entity; in the release, `end` is the index of its last character."""
        if not 0 <= start <= end < len(text):
            raise RankprobeError(
                f"{where}: field 'entities' has the span {start} to {end}; expected a span within the "
                f"{len(text)} characters of the passage"
            )
        return text[start : end + 1]

    def _texts(self, row: Row, field: str, where: str) -> list[str]:
        """The texts of a list field, unique and sorted, because the order of the hub's lists is arbitrary."""
        value = self.required_field(row, field, where)
        if not isinstance(value, list) or not value or not all(map(is_text, value)):
            raise RankprobeError(
                f"{where}: field '{field}' is {short_repr(value)}; expected a list of texts "
                "(the test split has none)"
            )
        return sorted(set(value))

    @property
    def answer_source(self) -> str:
        return "the entities of each row"

    def placeholder(self) -> Row:
        return {"answers": ["?"]}

    def target(self, example: Example, targets: str) -> str:
        return example.answers[0]

    def parse_answer(self, answer: str, example: Example, targets: str) -> int:
        """0 if the answer is an entity of the passage, otherwise `INVALID`; the metrics compare texts."""
        return 0 if answer in example.candidates else INVALID

    def constant_baselines(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        """The entity that the passage mentions most often; of several, the first in alphabetical order."""
        return [[max(example.candidates, key=example.fields["passage"].count) for example in examples]]

    def training_examples(self, example: Example) -> list[Example]:
        return [replace(example, answers=(answer,)) for answer in example.answers]


def without_highlights(passage: str) -> str:
    """The passage with its `@highlight` lines as sentences, as in T5's preprocessing."""
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", passage)
    return passage.replace("\n@highlight\n", ". ")


RECORD = _ReCoRD(
    name="record",
    folder="ReCoRD",
    title="ReCoRD",
    template="query: {query} entities: {entities} passage: {passage}",
    long_field="passage",
    truncation_side="right",
    labels=(),
    metrics=("token_f1", "exact_match"),
)
