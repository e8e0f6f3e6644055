"""A task of the user's own: a TOML file that describes it, or a folder of texts in pairs.

    template = "review: {review}"     # source text over the fields of a row
    target = "stars"                  # the field with the label, or with the text to generate
    train = "train.csv"               # any format of `readers`; the path starts at the TOML file's folder
    validation = "dev.csv"
    [labels]                          # what the field says = the answer to be taught;
    1 = "bad"                         # without this table the field's text itself is taught
    5 = "good"

A path may also leave out the suffix, or name a folder that `save_to_disk` of datasets wrote.
A key of `[labels]` matches a label in any spelling: 1 matches 1 and 1.0, true matches true, True and TRUE.
Where a file gives names to class ids (ClassLabel of datasets), the keys are either those names or those ids.
A number in a field is its text, as in a CSV file (41, 1.0); a boolean is true or false.

Metrics default to accuracy with labels, and to exact match, token F1 and ROUGE-L without.

A folder has rows of two fields, `source` and `target`, in `train` and `val` (or `validation`), in any format
of `readers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from rankprobe.errors import RankprobeError, unknown
from rankprobe.settings import Settings, read_toml
from rankprobe.tasks.base import Example, Row, Task, label_text, need, shown, value_text
from rankprobe.tasks.metrics import LABEL_METRICS, TEXT_METRICS
from rankprobe.tasks.sources import SPLITS, find


class TaskFile(Settings):
    """The keys of the TOML file."""

    template: str
    target: str
    train: str
    validation: str
    labels: Mapping[str, str] = {}
    metrics: tuple[str, ...] = ()
    long_field: str | None = None


@dataclass(frozen=True)
class LabelledTask(Task):
    """Rows carry one of the keys of `[labels]`; its values are the answers, whatever `targets` says."""

    words: tuple[str, ...] = ()

    @property
    def answers_from(self) -> str:
        return "[labels] of its TOML file"

    def answer_set(self, targets: str) -> list[str]:
        return list(self.words)

    def class_names(self, names: Sequence[str], where: str) -> Sequence[str]:
        """The name of each class, or its id where more keys of `[labels]` are ids than names.

        Raises:
            RankprobeError: as many keys are names as ids, and that would give other labels.
        """
        ids, keys = [str(i) for i in range(len(names))], set(self.labels)
        as_names, as_ids = len(keys & set(names)), len(keys & set(ids))
        if as_names == as_ids and any(
            i != name and {i, name} & keys for i, name in zip(ids, names, strict=True)
        ):
            stand = ", ".join(f"{i} = {name}" for i, name in zip(ids, names, strict=True))
            raise RankprobeError(
                f"{where}: the keys {', '.join(self.labels)} of [labels] can be names or ids of the classes "
                f"{stand}; use names or ids only, or write the labels as text into the file"
            )
        return ids if as_ids > as_names else names

    def stand_in(self) -> Row:
        return {self.label_field: self.labels[0]}

    def example(self, row: Row, where: str) -> Example:
        fields = _texts(self, row, where)
        return Example(fields, self.label_id(need(self, row, self.label_field, where), where))

    def label_id(self, value: object, where: str) -> int:
        """The number of the key that a label equals, or else has the same spelling as in `label_text`."""
        if isinstance(value, str) and value in self.labels:
            return self.labels.index(value)  # also where another key differs from it in spelling alone
        same = [i for i, key in enumerate(self.labels) if label_text(key) == label_text(value)]
        if len(same) == 1:
            return same[0]
        several = f" (it could be {', '.join(repr(self.labels[i]) for i in same)})" if same else ""
        raise RankprobeError(
            f"{where}: field '{self.label_field}' is {shown(value)}; expected one of "
            f"{', '.join(self.labels)}{several}"
        )


class TextTask(Task):
    """Rows carry the text to generate, or a list of accepted texts, the first of which is taught."""

    def example(self, row: Row, where: str) -> Example:
        fields = _texts(self, row, where)
        value = need(self, row, self.label_field, where)
        answers = tuple(value_text(each) or "" for each in (value if isinstance(value, list) else [value]))
        if not answers or not all(answer.strip() for answer in answers):
            raise RankprobeError(
                f"{where}: field '{self.label_field}' is {shown(value)}; expected text, or a list of texts"
            )
        return Example(fields, 0, answers)

    def stand_in(self) -> Row:
        return {self.label_field: "?"}

    def target(self, example: Example, targets: str) -> str:
        return example.answers[0]

    def read(self, answer: str, example: Example, targets: str) -> int:
        """Any text is an answer; the metrics compare texts."""
        return 0

    def blind_answers(self, examples: Sequence[Example], targets: str) -> list[list[str]]:
        """The most frequent accepted text for every row."""
        ((text, _),) = Counter(example.answers[0] for example in examples).most_common(1)
        return [[text] * len(examples)]


def _texts(task: Task, row: Row, where: str) -> dict[str, str]:
    """What the template needs of a row, as text.

    Raises:
        RankprobeError: a field is missing, or has no text, as null.
    """
    found: dict[str, str] = {}
    for field in task.fields:
        value = need(task, row, field, where)
        text = value_text(value)
        if text is None:
            raise RankprobeError(f"{where}: field '{field}' is {shown(value)}; expected text or a number")
        found[field] = text
    return found


def load_task(path: Path) -> Task:
    """The task that a TOML file describes.

    Raises:
        RankprobeError: no such file, no TOML, an unknown key, or settings that do not fit together.
    """
    keys = read_toml(path, "task")
    try:
        spec = TaskFile.parse(keys)
    except RankprobeError as error:
        raise RankprobeError(f"{path}: {error}") from None
    fields = _fields(path, spec.template)
    if spec.long_field not in (None, *fields):
        raise unknown("long_field", str(spec.long_field), fields)
    words = tuple(spec.labels.values())
    if spec.labels and (len(spec.labels) < 2 or len(set(words)) < len(words)):
        raise RankprobeError(f"{path}: [labels] has {words}; expected two or more different answers")
    known = LABEL_METRICS if spec.labels else TEXT_METRICS
    for metric in spec.metrics:
        if metric not in known:
            raise unknown("metric", metric, known)
    common = {
        "name": path.stem,
        "folder": path.stem,
        "title": path.stem,
        "template": spec.template,
        "long_field": spec.long_field or fields[0],
        "keep": "start",
        "label_field": spec.target,
        "metrics": spec.metrics or (("accuracy",) if spec.labels else tuple(TEXT_METRICS)),
        "files": {"train": path.parent / spec.train, "validation": path.parent / spec.validation},
    }
    if spec.labels:
        return LabelledTask(**common, labels=tuple(spec.labels), words=words)
    return TextTask(**common, labels=())


def paired_task(folder: Path) -> Task:
    """The task of a folder whose rows are pairs of texts: read `source`, write `target`.

    Raises:
        RankprobeError: the folder has no rows for a split.
    """
    for split, stems in SPLITS.items():
        if not find([folder], stems):
            raise RankprobeError(
                f"task '{folder}' has no {split} rows; expected {stems[0]}.jsonl, .csv or .parquet "
                "with the fields source and target"
            )
    return TextTask(
        name=folder.name,
        folder=folder.name,
        title=folder.name,
        template="{source}",
        long_field="source",
        keep="start",
        label_field="target",
        labels=(),
        metrics=tuple(TEXT_METRICS),
        files=dict.fromkeys(SPLITS, folder),
    )


def _fields(path: Path, template: str) -> list[str]:
    """The fields that a template names."""
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name]
        if fields and all(name.isidentifier() for name in fields):
            template.format(**dict.fromkeys(fields, ""))
            return fields
    except (ValueError, LookupError) as error:
        raise RankprobeError(f"{path}: template {template!r} is no template ({error})") from None
    raise RankprobeError(f"{path}: template {template!r} names no fields, as in 'premise: {{premise}}'")
