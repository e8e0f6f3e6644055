"""What a task is: how its rows become source and target texts, and how an answer is read back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from rankprobe.errors import RankprobeError

Row = Mapping[str, Any]

SURROGATE = re.compile("[\ud800-\udfff]")

WHOLE = re.compile(r"(-?\d+)\.0*")
"""A whole number that was written as a float, as pandas does in a column with a gap."""

KINDS_OF_TARGETS = ("digits", "words")
"""Label texts that need no list: class ids, the default (the authors' code), and the labels' names (T5)."""

SHOWN = 80
"""Characters of a value that an error repeats."""

INVALID = -1
"""Class id of an answer outside the label set. It counts as wrong, and is counted."""


@dataclass(frozen=True)
class Example:
    """One row, ready to be tokenised.

    Attributes:
        fields: what the template needs, as text.
        label: a class id. Tasks with free answers have 0.
        answers: the accepted texts, where the answer is text: the referent (WSC), the entities (ReCoRD).
        candidates: the texts an answer must be one of, where each row has its own (ReCoRD's entities).
        group: rows with the same group are answers to one question (MultiRC); otherwise empty.
    """

    fields: Mapping[str, str]
    label: int
    answers: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
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
        label_field: the field of a row that holds its label.
        hub_name: the config name on the hub, where it is not `name`.
        authors_template: the template in the DPT authors' code, where it is not `template`.
        files: a path per split, for a task of the user's own.
    """

    name: str
    folder: str
    title: str
    template: str
    long_field: str
    keep: Literal["start", "end"]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    label_field: str = "label"
    hub_name: str | None = None
    authors_template: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """The fields an example must have: those of the template."""
        return [name for _, name, _, _ in Formatter().parse(self.template) if name]

    def source(self, fields: Row) -> str:
        return self.template.format(**{field: fields[field] for field in self.fields})

    def as_authors(self) -> Task:
        """The task as the DPT authors' code has it: its name in front, COPA without the question.

        Raises:
            RankprobeError: a task of the user's own, which their code does not have.
        """
        if self.files:
            raise RankprobeError(f"task '{self.name}' is none of the DPT authors'; leave out --form authors")
        name = f"superglue-{self.hub_name or self.name}"
        return replace(self, template=f"{name} {self.authors_template or self.template}")

    def answer_set(self, targets: str) -> list[str]:
        """The text of each label; empty where the answer is text of the row.

        Args:
            targets: `digits` (class ids, the authors' code), `words` (label names, T5), or one word per
                label, separated by commas.

        Raises:
            RankprobeError: not as many words as labels, or one twice.
        """
        if targets == "digits":
            return [str(i) for i in range(len(self.labels))]
        if targets == "words" or not self.labels:
            return list(self.labels)
        words = [word.strip() for word in targets.split(",")]
        if len(words) != len(self.labels) or len(set(words)) < len(words) or not all(words):
            raise RankprobeError(
                f"targets is '{targets}'; expected digits, words, or {len(self.labels)} different words with "
                f"commas between, for {', '.join(self.labels)}"
            )
        return words

    def check_targets(self, targets: str) -> None:
        """Make sure that words that were chosen for the labels are used.

        Raises:
            RankprobeError: not as many words as labels, or the task takes its answers from something else.
        """
        self.answer_set(targets)
        if self.answers_from and targets not in KINDS_OF_TARGETS:
            raise RankprobeError(
                f"targets is '{targets}', but {self.title} takes its answers from {self.answers_from}; "
                "leave out --targets"
            )

    def targets_note(self, targets: str) -> list[str]:
        """What a user must know who asked for a kind of label texts, digits or words, that has no effect."""
        if not self.answers_from or targets == KINDS_OF_TARGETS[0]:
            return []
        return [f"targets {targets} has no effect: {self.title} takes its answers from {self.answers_from}"]

    @property
    def answers_from(self) -> str:
        """What decides the answers where `targets` has no effect; empty where it has."""
        return "" if self.labels else f"the field '{self.label_field}'"

    def class_names(self, names: Sequence[str], where: str) -> Sequence[str]:
        """What each class id of the label column stands for, where a file gives its names.

        Raises:
            RankprobeError: other names than the task's labels; `where` names the file.
        """
        if self.labels and tuple(names) != self.labels:
            raise RankprobeError(f"{where}: class ids stand for {tuple(names)}; expected {self.labels}")
        return names

    def candidates(self, example: Example, targets: str) -> list[str]:
        """The answers that can be ranked by their likelihood; empty where any text is possible."""
        return list(example.candidates) or self.answer_set(targets)

    def target(self, example: Example, targets: str) -> str:
        """The text that a right answer consists of."""
        return self.answer_set(targets)[example.label]

    def read(self, answer: str, example: Example, targets: str) -> int:
        """The class id that an answer stands for: an exact match with the answer set, or `INVALID`."""
        answers = self.answer_set(targets)
        return answers.index(answer) if answer in answers else INVALID

    def blind_answers(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        """Ways to answer all examples without reading them: each label for every row."""
        return [[answer] * len(examples) for answer in self.answer_set(targets)]

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

    def stand_in(self) -> Row:
        """What a row that is to be answered may leave out."""
        return {self.label_field: 0}

    def example(self, row: Row, where: str) -> Example:
        fields = {field: text_field(self, row, field, where) for field in self.fields}
        return Example(fields, self.label_id(need(self, row, self.label_field, where), where))

    def label_id(self, value: object, where: str) -> int:
        """A row's label as a class id; official rows carry names or booleans, the hub's carry ids.

        Raises:
            RankprobeError: a label outside the set.
        """
        label = label_text(value).lower()
        for known in ([name.lower() for name in self.labels], [str(i) for i in range(len(self.labels))]):
            if label in known:
                return known.index(label)
        raise RankprobeError(
            f"{where}: label {shown(value)} is not one of {self.title}'s: "
            + ", ".join(f"{name!r} ({i})" for i, name in enumerate(self.labels))
        )


def as_row(row: object, where: str) -> Row:
    if not isinstance(row, Mapping):
        raise RankprobeError(f"{where}: expected an object with fields, got {type(row).__name__}")
    return row


def need(task: Task, row: Row, field: str, where: str) -> Any:
    """A field that must be there."""
    if field not in row:
        expected = ", ".join((*task.fields, task.label_field))
        found = ", ".join(key if key.isprintable() else repr(key) for key in row)
        raise RankprobeError(
            f"{where}: no field '{field}'; {task.title} rows need {expected}, and this one has {found}"
        )
    return row[field]


def text_field(task: Task, row: Row, field: str, where: str) -> str:
    """A field that must be there and be text."""
    value = need(task, row, field, where)
    if not is_text(value):
        raise RankprobeError(f"{where}: field '{field}' is {shown(value)}; expected text")
    return value


def is_text(value: object) -> bool:
    """Whether it is text that a tokenizer takes: JSON can hold one half of a surrogate pair."""
    return isinstance(value, str) and not SURROGATE.search(value)


def label_text(value: object) -> str:
    """A label as text, in one spelling: 1 for 1.0, true for TRUE and True, without blanks around it."""
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if whole := WHOLE.fullmatch(text):
        text = whole[1]
    return text.lower() if text.lower() in ("true", "false") else text


def value_text(value: Any) -> str | None:
    """The text of a value as a CSV file would hold it; None if it has none that a tokenizer takes.

    A number is its digits (41, 1.0), a boolean true or false, as in JSON and TOML.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int | float | Decimal):
        return str(value)
    return value if is_text(value) else None


def shown(value: object) -> str:
    """A value for an error of one line; the end of a long one is left out."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
