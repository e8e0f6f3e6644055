"""What a task is: how its rows become text, which labels it has, how it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

from rankprobe.errors import RankprobeError

Row = Mapping[str, Any]
TargetStyle = Literal["digits", "words"]


@dataclass(frozen=True)
class Task:
    """A classification task in text-to-text form.

    Attributes:
        name: the registry name, which is also the config name on the hub.
        folder: the folder name in the official SuperGLUE release.
        title: for people.
        template: source text over the row's fields, as a `str.format` template.
        long_field: the field that is shortened when a row exceeds the length limit.
        keep: which end of the long field is kept then.
        labels: label names in the order of the hub's class ids.
        metrics: names from `tasks.metrics`; the first one chooses the best prompt.
    """

    name: str
    folder: str
    title: str
    template: str
    long_field: str
    keep: Literal["start", "end"]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def fields(self) -> list[str]:
        """The fields a row must have, besides its label: those of the template."""
        return [name for _, name, _, _ in Formatter().parse(self.template) if name]

    def source(self, row: Row) -> str:
        return self.template.format(**{field: row[field] for field in self.fields})

    def targets(self, style: TargetStyle) -> list[str]:
        """The text of each label: class ids (`digits`, the authors' code) or names (`words`, T5)."""
        return [str(i) for i in range(len(self.labels))] if style == "digits" else list(self.labels)

    def label_id(self, value: object, where: str) -> int:
        """A row's label as a class id; official rows carry names, the hub's carry ids.

        Raises:
            RankprobeError: a label outside the set; `where` names file and line.
        """
        if isinstance(value, str) and value in self.labels:
            return self.labels.index(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.labels):
            return value
        raise RankprobeError(
            f"{where}: label {value!r} is not one of {self.title}'s: "
            + ", ".join(f"{name!r} ({i})" for i, name in enumerate(self.labels))
        )


@dataclass(frozen=True)
class Example:
    """One row, ready to be tokenised. `fields` holds what the template needs; `label` is a class id."""

    fields: Mapping[str, str]
    label: int

    @classmethod
    def from_row(cls, task: Task, row: object, where: str) -> Example:
        """Check a row and keep what the task needs.

        Raises:
            RankprobeError: not an object, a field missing or not text, or a label outside the set.
        """
        if not isinstance(row, Mapping):
            raise RankprobeError(f"{where}: expected an object with fields, got {type(row).__name__}")
        for field in (*task.fields, "label"):
            if field not in row:
                raise RankprobeError(
                    f"{where}: no field '{field}'; {task.title} rows have "
                    f"{', '.join((*task.fields, 'label'))}"
                )
        for field in task.fields:
            if not isinstance(row[field], str):
                raise RankprobeError(f"{where}: field '{field}' is {row[field]!r}; expected text")
        return cls({f: row[f] for f in task.fields}, task.label_id(row["label"], where))
