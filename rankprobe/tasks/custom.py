"""Custom tasks, defined by a TOML file or by a folder with pairs of texts.

    template = "review: {review}"     # source text over the fields of a row
    target = "stars"                  # the field with the label, or with the text to generate
    train = "train.csv"               # any format of `readers`; relative to the folder of the TOML file
    validation = "dev.csv"
    [labels]                          # value of the field = answer to train on;
    1 = "bad"                         # without this table, the field's text is the answer
    5 = "good"

A path may leave out the suffix, or name a folder written by `save_to_disk` of datasets.
A key of `[labels]` matches a label in any spelling: 1 matches 1 and 1.0; true matches true, True and TRUE.
If a file names its classes (ClassLabel of datasets), the keys are either the names or the ids.
A number in a field becomes its digits, as in a CSV file (41, 1.0); a boolean becomes true or false.
Default metrics: accuracy with labels; exact match, token F1 and ROUGE-L without labels.

A folder with pairs of texts holds rows with the fields `source` and `target`, in files `train` and `val` (or
`validation`) of any format of `readers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from rankprobe.errors import RankprobeError, unknown
from rankprobe.settings import Settings, read_toml
from rankprobe.tasks.base import Example, Row, Task, normalized_label, short_repr, to_text
from rankprobe.tasks.metrics import LABEL_METRICS, TEXT_METRICS
from rankprobe.tasks.readers import READERS
from rankprobe.tasks.sources import SPLITS, find_files


class TaskFile(Settings):
    """The keys of the TOML file and their types."""

    template: str
    target: str
    train: str
    validation: str
    labels: Mapping[str, str] = {}
    metrics: tuple[str, ...] = ()
    long_field: str | None = None


class CustomTask(Task):
    """A task whose fields may also hold numbers and booleans; `to_text` converts them."""

    def text_field(self, row: Row, field: str, where: str) -> str:
        value = self.required_field(row, field, where)
        text = to_text(value)
        if text is None:
            raise RankprobeError(
                f"{where}: field '{field}' is {short_repr(value)}; expected text or a number"
            )
        return text


@dataclass(frozen=True)
class LabelledTask(CustomTask):
    """A task whose rows hold a key of `[labels]`. The values are the answers; `targets` has no effect."""

    label_texts: tuple[str, ...] = ()

    @property
    def answer_source(self) -> str:
        return "[labels] of its TOML file"

    def answer_set(self, targets: str) -> list[str]:
        return list(self.label_texts)

    def class_names(self, names: Sequence[str], where: str) -> Sequence[str]:
        """The label of each class: its name, or its id if more keys of `[labels]` are ids than names.

        Raises:
            RankprobeError: equally many keys are ids and names, and the two readings give different labels.
        """
        ids, keys = [str(i) for i in range(len(names))], set(self.labels)
        n_names, n_ids = len(keys & set(names)), len(keys & set(ids))
        if n_names == n_ids and any(
            i != name and {i, name} & keys for i, name in zip(ids, names, strict=True)
        ):
            classes = ", ".join(f"{i} = {name}" for i, name in zip(ids, names, strict=True))
            raise RankprobeError(
                f"{where}: the keys {', '.join(self.labels)} of [labels] can be names or ids of the classes "
                f"{classes}; use names or ids only, or write the labels as text into the file"
            )
        return ids if n_ids > n_names else names

    def placeholder(self) -> Row:
        return {self.label_field: self.labels[0]}

    def label_id(self, value: object, where: str) -> int:
        """The index of the key that equals the label, or else of the only key with the same normalized label.

        Raises:
            RankprobeError: no key matches, or several do.
        """
        if isinstance(value, str) and value in self.labels:
            return self.labels.index(value)  # although another key may have the same normalized label
        matching = [
            i for i, key in enumerate(self.labels) if normalized_label(key) == normalized_label(value)
        ]
        if len(matching) == 1:
            return matching[0]
        several = f" (it could be {', '.join(repr(self.labels[i]) for i in matching)})" if matching else ""
        raise RankprobeError(
            f"{where}: field '{self.label_field}' is {short_repr(value)}; expected one of "
            f"{', '.join(self.labels)}{several}"
        )


class TextTask(CustomTask):
    """A task whose rows hold the text to generate, or a list of accepted texts; training uses the first."""

    def example(self, row: Row, where: str) -> Example:
        fields = {field: self.text_field(row, field, where) for field in self.fields}
        value = self.required_field(row, self.label_field, where)
        answers = tuple(to_text(each) or "" for each in (value if isinstance(value, list) else [value]))
        if not answers or not all(answer.strip() for answer in answers):
            raise RankprobeError(
                f"{where}: field '{self.label_field}' is {short_repr(value)}; "
                "expected text, or a list of texts"
            )
        return Example(fields, 0, answers)

    def placeholder(self) -> Row:
        return {self.label_field: "?"}

    def target(self, example: Example, targets: str) -> str:
        return example.answers[0]

    def parse_answer(self, answer: str, example: Example, targets: str) -> int:
        """Return 0, because any text is a valid answer and the metrics compare texts."""
        return 0

    def constant_baselines(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        """Baseline answers that ignore the texts: the most frequent training target, for every example."""
        ((text, _),) = Counter(example.answers[0] for example in examples).most_common(1)
        return [[text] * len(examples)]


def load_task(path: Path) -> Task:
    """The task that a TOML file defines.

    Raises:
        RankprobeError: the file does not exist or is not TOML, a key is unknown, or a value is not valid.
    """
    keys = read_toml(path, "task")
    try:
        spec = TaskFile.parse(keys)
    except RankprobeError as error:
        raise RankprobeError(f"{path}: {error}") from None
    fields = _fields(path, spec.template)
    if spec.long_field not in (None, *fields):
        raise unknown("long_field", str(spec.long_field), fields)
    label_texts = tuple(spec.labels.values())
    if spec.labels and (len(spec.labels) < 2 or len(set(label_texts)) < len(label_texts)):
        named = ", ".join(map(repr, label_texts))
        raise RankprobeError(f"{path}: [labels] has {named}; expected two or more different answers")
    metrics = LABEL_METRICS if spec.labels else TEXT_METRICS
    for metric in spec.metrics:
        if metric not in metrics:
            raise unknown("metric", metric, metrics)
    common = {
        "name": path.stem,
        "folder": path.stem,
        "title": path.stem,
        "template": spec.template,
        "long_field": spec.long_field or fields[0],
        "truncation_side": "right",
        "label_field": spec.target,
        "metrics": spec.metrics or (("accuracy",) if spec.labels else tuple(TEXT_METRICS)),
        "files": {"train": path.parent / spec.train, "validation": path.parent / spec.validation},
    }
    if spec.labels:
        return LabelledTask(**common, labels=tuple(spec.labels), label_texts=label_texts)
    return TextTask(**common, labels=())


def paired_task(folder: Path) -> Task:
    """The task of a folder with pairs of texts: `source` is the input, `target` the text to generate.

    Raises:
        RankprobeError: the folder has no file for a split.
    """
    for split, stems in SPLITS.items():
        if not find_files([folder], stems):
            raise RankprobeError(
                f"task '{folder}' has no {split} rows; expected {stems[0]}{', '.join(READERS)} "
                "with the fields source and target"
            )
    return TextTask(
        name=folder.name,
        folder=folder.name,
        title=folder.name,
        template="{source}",
        long_field="source",
        truncation_side="right",
        label_field="target",
        labels=(),
        metrics=tuple(TEXT_METRICS),
        files=dict.fromkeys(SPLITS, folder),
    )


def _fields(path: Path, template: str) -> list[str]:
    """The fields of a template.

    Raises:
        RankprobeError: the template is not valid, or has no named fields.
    """
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name]
        if fields and all(name.isidentifier() for name in fields):
            template.format(**dict.fromkeys(fields, ""))
            return fields
    except (ValueError, LookupError) as error:
        raise RankprobeError(f"{path}: template {template!r} is not a valid template ({error})") from None
    raise RankprobeError(
        f"{path}: template {template!r} has no fields; expected one or more, as in 'premise: {{premise}}'"
    )
