"""MultiRC (Khashabi et al. 2018): which answers to a question about a paragraph are right?

Each answer is one example. F1 is computed over all answers. Exact match is the share of questions whose
answers are all classified correctly.
"""

from __future__ import annotations

import re
from dataclasses import replace

from rankprobe.errors import RankprobeError
from rankprobe.tasks.base import Example, Row, Task


class _MultiRC(Task):
    def flatten(self, row: Row, where: str) -> list[Row]:
        if "passage" not in row:
            return [row]
        passage = row["passage"]
        try:
            return [
                {
                    "paragraph": passage["text"],
                    "question": question["question"],
                    "answer": answer["text"],
                    "label": answer["label"],
                }
                for question in passage["questions"]
                for answer in question["answers"]
            ]
        except (KeyError, TypeError) as error:
            raise RankprobeError(
                f"{where}: expected a passage with text, questions and their answers ({error!r} is missing)"
            ) from None

    def example(self, row: Row, where: str) -> Example:
        example = super().example(row, where)
        paragraph, question = example.fields["paragraph"], example.fields["question"]
        fields = {**example.fields, "paragraph": without_markup(paragraph)}
        return replace(example, fields=fields, group=f"{paragraph}\n{question}")


def without_markup(text: str) -> str:
    """The paragraph without the sentence numbers and HTML tags of the release."""
    text = re.sub(r"<b>Sent \d+: </b>", "", text)
    return re.sub(r"\s+", " ", re.sub(r"<br>|</?b>", " ", text)).strip()


MULTIRC = _MultiRC(
    name="multirc",
    folder="MultiRC",
    title="MultiRC",
    template="question: {question} answer: {answer} paragraph: {paragraph}",
    long_field="paragraph",
    truncation_side="right",
    labels=("False", "True"),
    metrics=("f1_answers", "exact_match_questions"),
)
