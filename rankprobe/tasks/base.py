"""Task and Example: how a row becomes a source and a target text, and how an answer is parsed."""

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

WHOLE_NUMBER = re.compile(r"(-?\d+)\.0*")
"""A whole number written as a float, as pandas does in a column with missing values."""

TARGET_STYLES = ("digits", "words")
"""Values of `targets` other than a list of words: class ids (default; authors' code) and label names (T5)."""

MAX_REPR = 80
"""Maximum number of characters of a value in an error message."""

INVALID = -1
"""Class id of an answer outside the label set. Such an answer is wrong; their number is reported."""


@dataclass(frozen=True)
class Example:
    """One row, ready for tokenisation.

    Attributes:
        fields: the texts that the template needs.
        label: class id; 0 in tasks with free answers.
        answers: the accepted texts, if the answer is a text: the referent (WSC), the entities (ReCoRD).
        candidates: the possible answers, if each row has its own (ReCoRD's entities).
        group: rows with the same group are answers to one question (MultiRC); otherwise empty.
    """

    fields: Mapping[str, str]
    label: int
    answers: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Task:
    """A task in text-to-text form. Tasks with other kinds of rows or answers override methods.

    Attributes:
        name: the registry name.
        folder: the folder name in the official SuperGLUE release.
        title: the name in tables and messages.
        template: source text over the row's fields, in the syntax of `str.format`.
        long_field: the field that loses words if a source is longer than the limit.
        truncation_side: the side of the long field where words are dropped.
        labels: label names in the order of the hub's class ids; empty if every answer is free text.
        metrics: names from `tasks.metrics`; the first one selects the best prompt.
        label_field: the row's field with the label.
        hub_name: the config name on the hub, if it differs from `name`.
        authors_template: the template in the DPT authors' code, if it differs from `template`.
        files: a path per split, for a custom task.
    """

    name: str
    folder: str
    title: str
    template: str
    long_field: str
    truncation_side: Literal["left", "right"]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    label_field: str = "label"
    hub_name: str | None = None
    authors_template: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """The fields of the template; every example has them."""
        return [name for _, name, _, _ in Formatter().parse(self.template) if name]

    def source(self, fields: Row) -> str:
        return self.template.format(**{field: fields[field] for field in self.fields})

    def as_authors(self) -> Task:
        """The task with the template of the DPT authors' code: task name first; COPA without its question.

        Raises:
            RankprobeError: a custom task, which the authors' code does not have.
        """
        if self.files:
            raise RankprobeError(
                f"task '{self.name}' is not one of the DPT authors' tasks; leave out --template authors"
            )
        name = f"superglue-{self.hub_name or self.name}"
        return replace(self, template=f"{name} {self.authors_template or self.template}")

    def answer_set(self, targets: str) -> list[str]:
        """The text of each label; empty if answers are free text.

        Args:
            targets: `digits` (class ids, the authors' code), `words` (label names, T5), or one word per
                label, separated by commas.

        Raises:
            RankprobeError: the number of words differs from the number of labels, or a word is repeated.
        """
        if targets == "digits":
            return [str(i) for i in range(len(self.labels))]
        if targets == "words" or not self.labels:
            return list(self.labels)
        words = [word.strip() for word in targets.split(",")]
        if len(words) != len(self.labels) or len(set(words)) < len(words) or not all(words):
            raise RankprobeError(
                f"targets is '{targets}'; expected digits, words, or {len(self.labels)} different words "
                f"separated by commas, for {', '.join(self.labels)}"
            )
        return words

    def check_targets(self, targets: str) -> None:
        """Check that a list of words in `targets` fits the labels and has an effect.

        Raises:
            RankprobeError: as in `answer_set`, or the task takes its answers from `answer_source`.
        """
        self.answer_set(targets)
        if self.answer_source and targets not in TARGET_STYLES:
            raise RankprobeError(
                f"targets is '{targets}', but {self.title} takes its answers from {self.answer_source}; "
                "leave out --targets"
            )

    def notes(self, targets: str) -> list[str]:
        """Notes for the user: here, that `targets` is not the default but has no effect."""
        if not self.answer_source or targets == TARGET_STYLES[0]:
            return []
        return [f"targets {targets} has no effect: {self.title} takes its answers from {self.answer_source}"]

    @property
    def answer_source(self) -> str:
        """Where the answers come from if not from `targets`; otherwise empty."""
        return "" if self.labels else f"the field '{self.label_field}'"

    def class_names(self, names: Sequence[str], where: str) -> Sequence[str]:
        """The label of each class id, for a file that names its classes.

        Args:
            names: the names in the file, in the order of the ids.
            where: the file, for errors.

        Raises:
            RankprobeError: the names differ from the task's labels.
        """
        if self.labels and tuple(names) != self.labels:
            raise RankprobeError(f"{where}: class ids stand for {tuple(names)}; expected {self.labels}")
        return names

    def candidates(self, example: Example, targets: str) -> list[str]:
        """The answers that can be ranked by likelihood; empty if any text is possible."""
        return list(example.candidates) or self.answer_set(targets)

    def target(self, example: Example, targets: str) -> str:
        """The text that training uses as the correct answer."""
        return self.answer_set(targets)[example.label]

    def parse_answer(self, answer: str, example: Example, targets: str) -> int:
        """The class id of an answer that equals one of the answer set; otherwise `INVALID`."""
        answers = self.answer_set(targets)
        return answers.index(answer) if answer in answers else INVALID

    def constant_baselines(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        """Baseline answers that ignore the texts: for each label, a list that gives it to every example."""
        return [[answer] * len(examples) for answer in self.answer_set(targets)]

    def training_examples(self, example: Example) -> list[Example]:
        """The training examples of a row; each has one target."""
        return [example]

    def flatten(self, row: Row, where: str) -> Iterable[Row]:
        """The flat rows of one nested row of the official release; the hub's rows are already flat.

        Raises:
            RankprobeError: the row is nested, but not as in the release; `where` names file and line.
        """
        return [row]

    def examples(self, row: object, where: str) -> list[Example]:
        """Check a row of the official release or of the hub, and return its examples.

        Raises:
            RankprobeError: the row is not an object, a field is missing or not text, or the label is unknown.
        """
        if not isinstance(row, Mapping):
            raise RankprobeError(f"{where}: expected an object with fields, got {type(row).__name__}")
        return [self.example(flat, where) for flat in self.flatten(row, where)]

    def placeholder(self) -> Row:
        """Values for the fields that a row without an answer may leave out."""
        return {self.label_field: 0}

    def example(self, row: Row, where: str) -> Example:
        fields = {field: self.text_field(row, field, where) for field in self.fields}
        return Example(fields, self.label_id(self.required_field(row, self.label_field, where), where))

    def required_field(self, row: Row, field: str, where: str) -> Any:
        """The value of a field.

        Raises:
            RankprobeError: the row does not have the field.
        """
        if field not in row:
            expected = ", ".join((*self.fields, self.label_field))
            present = ", ".join(key if key.isprintable() else repr(key) for key in row)
            raise RankprobeError(
                f"{where}: no field '{field}'; {self.title} rows need {expected}, but this row has {present}"
            )
        return row[field]

    def text_field(self, row: Row, field: str, where: str) -> str:
        """The text of a field.

        Raises:
            RankprobeError: the row does not have the field, or its value is not text.
        """
        value = self.required_field(row, field, where)
        if not is_text(value):
            raise RankprobeError(f"{where}: field '{field}' is {short_repr(value)}; expected text")
        return value

    def label_id(self, value: object, where: str) -> int:
        """The class id of a row's label: a name or a boolean (official release), or an id (hub).

        Raises:
            RankprobeError: the label is not in the label set.
        """
        label = normalized_label(value).lower()
        for known in ([name.lower() for name in self.labels], [str(i) for i in range(len(self.labels))]):
            if label in known:
                return known.index(label)
        raise RankprobeError(
            f"{where}: label {short_repr(value)} is not one of {self.title}'s labels: "
            + ", ".join(f"{name!r} ({i})" for i, name in enumerate(self.labels))
        )


def is_text(value: object) -> bool:
    """Whether the value is a string without unpaired surrogates (JSON allows them, tokenizers do not)."""
    return isinstance(value, str) and not SURROGATE.search(value)


def normalized_label(value: object) -> str:
    """A label as text without surrounding blanks: `1` for 1.0, `true` for TRUE and True."""
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if whole := WHOLE_NUMBER.fullmatch(text):
        text = whole[1]
    return text.lower() if text.lower() in ("true", "false") else text


def to_text(value: Any) -> str | None:
    """A value as text, as a CSV file would hold it; None if a tokenizer would not accept it.

    A number becomes its digits (41, 1.0), a boolean `true` or `false` as in JSON and TOML.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int | float | Decimal):
        return str(value)
    return value if is_text(value) else None


def short_repr(value: object) -> str:
    """`repr` of a value for an error message, at most `MAX_REPR` characters and an ellipsis."""
    text = repr(value)
    return text if len(text) <= MAX_REPR else f"{text[:MAX_REPR]}…"
