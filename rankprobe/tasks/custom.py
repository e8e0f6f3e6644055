"""A task of the user's own: a TOML file that describes it, or a folder of texts in pairs.

    template = "review: {review}"     # source text over the fields of a row
    target = "stars"                  # the field with the label, or with the text to generate
    train = "train.csv"               # JSONL, CSV or Parquet; the path starts at the TOML file's folder
    validation = "dev.csv"
    [labels]                          # what the field says = the answer to be taught;
    1 = "bad"                         # without this table the field's text itself is taught
    5 = "good"

Metrics default to accuracy with labels, and to exact match, token F1 and ROUGE-L without.

A folder has rows of two fields, `source` and `target`, in `train` and `val` (or `validation`), as `.jsonl`,
`.csv` or `.parquet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from rankprobe.errors import RankprobeError, unknown
from rankprobe.settings import Settings, read_toml
from rankprobe.tasks.base import Example, Row, Task, is_text, need, text_field
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

    def answer_set(self, targets: str) -> list[str]:
        return list(self.words)

    def stand_in(self) -> Row:
        return {self.label_field: self.labels[0]}

    def example(self, row: Row, where: str) -> Example:
        fields = {field: text_field(self, row, field, where) for field in self.fields}
        value = str(need(self, row, self.label_field, where))
        if value not in self.labels:
            raise RankprobeError(
                f"{where}: field '{self.label_field}' is {value!r}; expected one of {', '.join(self.labels)}"
            )
        return Example(fields, self.labels.index(value))


class TextTask(Task):
    """Rows carry the text to generate, or a list of accepted texts, the first of which is taught."""

    def example(self, row: Row, where: str) -> Example:
        fields = {field: text_field(self, row, field, where) for field in self.fields}
        value = need(self, row, self.label_field, where)
        answers = tuple(value) if isinstance(value, list) else (value,)
        if not answers or not all(is_text(answer) and answer.strip() for answer in answers):
            raise RankprobeError(
                f"{where}: field '{self.label_field}' is {value!r}; expected text, or a list of texts"
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
    files = {split: find([folder], stems) for split, stems in SPLITS.items()}
    for split, path in files.items():
        if path is None:
            raise RankprobeError(
                f"task '{folder}' has no {split} rows; expected {SPLITS[split][0]}.jsonl, .csv or .parquet "
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
        files={split: path for split, path in files.items() if path},
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
