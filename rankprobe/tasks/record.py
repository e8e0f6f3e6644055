"""ReCoRD (Zhang et al. 2018): which entity of the passage belongs in the gap of the query?

Training has one example per right entity; scoring takes the best over all right entities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rankprobe.errors import RankprobeError
from rankprobe.tasks.base import INVALID, Example, Row, TargetStyle, Task, need, text_field


class _ReCoRD(Task):
    def flat(self, row: Row, where: str) -> list[Row]:
        if "qas" not in row:
            return [row]
        try:
            text = row["passage"]["text"]
            entities = [text[e["start"] : e["end"] + 1] for e in row["passage"]["entities"]]
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
        entities = sorted(set(need(self, row, "entities", where)))
        answers = sorted(set(need(self, row, "answers", where)))
        if not answers:
            raise RankprobeError(
                f"{where}: no answers; expected the right entities (the test split has none)"
            )
        fields = {
            "query": text_field(self, row, "query", where),
            "entities": ", ".join(entities),
            "passage": without_highlights(text_field(self, row, "passage", where)),
        }
        return Example(fields, 0, tuple(answers))

    def target(self, example: Example, style: TargetStyle) -> str:
        return example.answers[0]

    def read(self, answer: str, example: Example, style: TargetStyle) -> int:
        """0 if the answer is one of the passage's entities; the metrics compare texts."""
        return 0 if answer in example.fields["entities"].split(", ") else INVALID

    def blind_answers(self, examples: Sequence[Example], style: TargetStyle) -> list[list[str]]:
        return [[most_mentioned(example) for example in examples]]

    def lessons(self, example: Example) -> list[Example]:
        return [replace(example, answers=(answer,)) for answer in example.answers]


def without_highlights(passage: str) -> str:
    """The passage with its `@highlight` lines turned into sentences, as T5 does."""
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", passage)
    return passage.replace("\n@highlight\n", ". ")


def most_mentioned(example: Example) -> str:
    """The entity that occurs most often in the passage, the first in the alphabet of several."""
    entities = example.fields["entities"].split(", ")
    return max(entities, key=lambda entity: example.fields["passage"].count(entity))


RECORD = _ReCoRD(
    name="record",
    folder="ReCoRD",
    title="ReCoRD",
    template="query: {query} entities: {entities} passage: {passage}",
    long_field="passage",
    keep="start",
    labels=(),
    metrics=("token_f1", "exact_match"),
)
