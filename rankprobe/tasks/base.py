"""What a task is: how its rows become source and target texts, and how an answer is read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

from rankprobe.errors import RankprobeError

Row = Mapping[str, Any]
TargetStyle = Literal["digits", "words"]

INVALID = -1
"""Class id of an answer outside the label set. It counts as wrong, and is counted."""


@dataclass(frozen=True)
class Example:
    """One row, ready to be tokenised.

    Attributes:
        fields: what the template needs, as text.
        label: a class id. Tasks with free answers have 0.
        answers: the accepted texts, where the answer is text: the referent (WSC), the entities (ReCoRD).
        group: rows with the same group are answers to one question (MultiRC); otherwise empty.
    """

    fields: Mapping[str, str]
    label: int
    answers: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Task:
    """A task in text-to-text form. Tasks whose rows or answers are of another kind override methods.

    Attributes:
        name: the registry name.
        folder: the folder name in the official SuperGLUE release.
        title: for people.
        template: source text over the row's fields, as a `str.format` template.
        long_field: the field that is shortened when a row exceeds the length limit.
        keep: which end of the long field is kept then.
        labels: label names in the order of the hub's class ids; empty where every answer is text.
        metrics: names from `tasks.metrics`; the first one chooses the best prompt.
        hub_name: the config name on the hub, where it is not `name`.
    """

    name: str
    folder: str
    title: str
    template: str
    long_field: str
    keep: Literal["start", "end"]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    hub_name: str | None = None

    @property
    def fields(self) -> list[str]:
        """The fields an example must have: those of the template."""
        return [name for _, name, _, _ in Formatter().parse(self.template) if name]

    def source(self, fields: Row) -> str:
        return self.template.format(**{field: fields[field] for field in self.fields})

    def answer_set(self, style: TargetStyle) -> list[str]:
        """The text of each label: class ids (`digits`, the authors' code) or names (`words`, T5).

        Empty where the answer is text of the row.
        """
        return [str(i) for i in range(len(self.labels))] if style == "digits" else list(self.labels)

    def target(self, example: Example, style: TargetStyle) -> str:
        """The text that a right answer consists of."""
        return self.answer_set(style)[example.label]

    def read(self, answer: str, example: Example, style: TargetStyle) -> int:
        """The class id that an answer stands for: an exact match with the answer set, or `INVALID`."""
        answers = self.answer_set(style)
        return answers.index(answer) if answer in answers else INVALID

    def blind_answers(self, examples: Sequence[Example], style: TargetStyle) -> list[list[str]]:
        """Ways to answer all examples without reading them: each label for every row."""
        return [[answer] * len(examples) for answer in self.answer_set(style)]

    def lessons(self, example: Example) -> list[Example]:
        """What training makes of an example; each has one target."""
        return [example]

    def flat(self, row: Row, where: str) -> Iterable[Row]:
        """The flat rows in one row of the official release; the hub's rows are flat already.

        Raises:
            RankprobeError: a nested row that is not laid out as the release's; `where` names file and line.
        """
        return [row]

    def examples(self, row: object, where: str) -> list[Example]:
        """Check a row, of the official release or of the hub, and make its examples.

        Raises:
            RankprobeError: not an object, a field missing or not text, or a label outside the set.
        """
        return [self.example(flat, where) for flat in self.flat(as_row(row, where), where)]

    def example(self, row: Row, where: str) -> Example:
        fields = {field: text_field(self, row, field, where) for field in self.fields}
        return Example(fields, self.label_id(need(self, row, "label", where), where))

    def label_id(self, value: object, where: str) -> int:
        """A row's label as a class id; official rows carry names or booleans, the hub's carry ids.

        Raises:
            RankprobeError: a label outside the set.
        """
        name = str(value) if isinstance(value, bool) else value
        if isinstance(name, str) and name in self.labels:
            return self.labels.index(name)
        if isinstance(name, int) and 0 <= name < len(self.labels):
            return name
        raise RankprobeError(
            f"{where}: label {value!r} is not one of {self.title}'s: "
            + ", ".join(f"{name!r} ({i})" for i, name in enumerate(self.labels))
        )


def as_row(row: object, where: str) -> Row:
    if not isinstance(row, Mapping):
        raise RankprobeError(f"{where}: expected an object with fields, got {type(row).__name__}")
    return row


def need(task: Task, row: Row, field: str, where: str) -> Any:
    """A field that must be there."""
    if field not in row:
        raise RankprobeError(
            f"{where}: no field '{field}'; {task.title} rows have {', '.join((*task.fields, 'label'))}"
        )
    return row[field]


def text_field(task: Task, row: Row, field: str, where: str) -> str:
    """A field that must be there and be text."""
    value = need(task, row, field, where)
    if not isinstance(value, str):
        raise RankprobeError(f"{where}: field '{field}' is {value!r}; expected text")
    return value
