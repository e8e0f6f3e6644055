"""Tasks in the YAML files of lm-evaluation-harness (lm-eval), as far as they map.

`doc_to_text` is text with fields as `{{name}}`, `doc_to_target` a field, and `doc_to_choice` a list of texts;
without it, the field has the text to generate. Rows are the `data_files` of `dataset_kwargs`, or the files
`train` and `validation` beside the YAML file; `--data FOLDER` gives others. No template and no Python
function is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import jinja2
import yaml
from jinja2 import nodes

from rankprobe.errors import RankprobeError
from rankprobe.lfs import check_lfs
from rankprobe.tasks.base import Row, Task, is_text, short_repr
from rankprobe.tasks.custom import CustomTask, LabelledTask, TextTask
from rankprobe.tasks.metrics import TEXT_METRICS
from rankprobe.tasks.sources import SPLITS

MAPPED = (
    "task task_alias tag group metadata dataset_path dataset_name dataset_kwargs training_split "
    "validation_split test_split output_type description doc_to_text doc_to_target doc_to_choice"
).split()
"""Keys that are read, or that change neither prompts nor answers. A note of the run names all others."""

REFUSED = ("include", "process_docs", "use_prompt")
"""Keys that change rows or prompts in a way that is not supported; a file with one of them is refused."""


class _Loader(yaml.SafeLoader):
    """Reads plain data; keeps a Python function as its name; refuses aliases, which can grow endlessly."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name); write the value out")
        return super().compose_node(parent, index)


@dataclass(frozen=True)
class _Function:
    """A Python function that a YAML file names."""

    name: str

    def __repr__(self) -> str:
        return f"!function {self.name}"


_Loader.add_constructor("!function", lambda _, node: _Function(str(node.value)))


@dataclass(frozen=True)
class HarnessTask(CustomTask):
    """A task of a YAML file; `unmapped` has its keys without effect here."""

    unmapped: tuple[str, ...] = ()

    def notes(self, targets: str) -> list[str]:
        keys = [f"keys of lm-eval without effect here: {', '.join(self.unmapped)}"] if self.unmapped else []
        return [*super().notes(targets), *keys]

    def text_field(self, row: Row, field: str, where: str) -> str:
        """The text of a field; a boolean is True or False, as Jinja renders it."""
        value = self.required_field(row, field, where)
        return str(value) if isinstance(value, bool) else super().text_field(row, field, where)


@dataclass(frozen=True)
class ChoiceTask(HarnessTask, LabelledTask):
    """A task with `doc_to_choice`. A row has the index of its choice, or the choice itself."""

    @property
    def answer_source(self) -> str:
        return "doc_to_choice of its YAML file"

    def label_id(self, value: object, where: str) -> int:
        if isinstance(value, str) and value in self.label_texts:
            return self.label_texts.index(value)
        return super().label_id(int(value) if isinstance(value, bool) else value, where)


class GenerationTask(HarnessTask, TextTask):
    """A task without `doc_to_choice`. A row has the text to generate."""


def load_harness_task(path: Path) -> Task:
    """The task of a YAML file of lm-eval.

    Raises:
        RankprobeError: the file cannot be read, or a key does not map; the message names it.
    """
    keys = _read(path)
    for key in REFUSED:
        if key in keys:
            raise RankprobeError(f"{path}: {key} does not map; write the task as a TOML file")
    parts = [("description", keys.get("description", "")), ("doc_to_text", keys.get("doc_to_text"))]
    template = "".join(_template(path, key, value) for key, value in parts)
    fields = [name for _, name, _, _ in Formatter().parse(template) if name]
    if not fields:
        raise RankprobeError(
            f"{path}: doc_to_text has no fields; expected one or more, as in {{{{premise}}}}"
        )
    choices = _choices(path, keys)
    title = keys.get("task", path.stem)
    if not is_text(title) or not title.strip():
        raise RankprobeError(f"{path}: task is {short_repr(title)}; expected a name")
    common: dict[str, Any] = {
        "name": path.stem,
        "folder": path.stem,
        "title": title,
        "template": template,
        "long_field": fields[0],
        "truncation_side": "right",
        "label_field": _field(path, keys.get("doc_to_target")),
        "files": _files(path, keys),
        "unmapped": tuple(sorted(str(key) for key in keys if key not in MAPPED)),
    }
    if not choices:
        return GenerationTask(**common, labels=(), metrics=tuple(TEXT_METRICS))
    labels = tuple(map(str, range(len(choices))))
    return ChoiceTask(**common, labels=labels, label_texts=choices, metrics=("accuracy",))


def _read(path: Path) -> dict[Any, Any]:
    """The keys of a YAML file.

    Raises:
        RankprobeError: it cannot be read, or is not a mapping.
    """
    check_lfs(path)
    try:
        keys = _Loader(path.read_bytes().decode("utf-8-sig")).get_single_data()
    except OSError as error:
        raise RankprobeError(f"task '{path}' cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise RankprobeError(f"task '{path}' is not YAML of lm-eval: {short_repr(reason)}") from None
    if not isinstance(keys, dict):
        raise RankprobeError(f"task '{path}' is {short_repr(keys)}; expected keys, such as doc_to_text")
    return keys


def _template(path: Path, key: str, value: object) -> str:
    """A Jinja template of text and fields, as a template of `str.format`.

    Raises:
        RankprobeError: it has more than text and fields.
    """
    if not is_text(value):
        raise RankprobeError(
            f"{path}: {key} is {short_repr(value)}; expected text with fields as {{{{name}}}}"
        )
    text = str(value)
    if text.isidentifier() and key != "description":  # for lm-eval, too, the name of a field is that field
        return f"{{{text}}}"
    try:
        body = jinja2.Environment(keep_trailing_newline=True).parse(text).body
    except (jinja2.TemplateError, RecursionError, ValueError) as error:
        raise RankprobeError(f"{path}: {key} is no template ({str(error).splitlines()[0]})") from None
    pieces = [piece for node in body for piece in (node.nodes if isinstance(node, nodes.Output) else [node])]
    found = []
    for piece in pieces:
        if isinstance(piece, nodes.TemplateData):
            found.append(piece.data.replace("{", "{{").replace("}", "}}"))
        elif isinstance(piece, nodes.Name) and piece.name.isidentifier():
            found.append(f"{{{piece.name}}}")
        else:
            raise RankprobeError(
                f"{path}: {key} is {short_repr(text)}; only text and fields as {{{{name}}}} map, no filters "
                "or statements"
            )
    return "".join(found)


def _field(path: Path, value: object) -> str:
    """The field of `doc_to_target`, given as `label` or `{{label}}`.

    Raises:
        RankprobeError: it is not a field.
    """
    template = _template(path, "doc_to_target", value)
    name = template.strip()[1:-1]
    if template.strip() != f"{{{name}}}" or not name.isidentifier():
        raise RankprobeError(f"{path}: doc_to_target is {short_repr(value)}; expected the name of a field")
    return name


def _choices(path: Path, keys: Mapping[Any, Any]) -> tuple[str, ...]:
    """The texts of `doc_to_choice`; empty without it.

    Raises:
        RankprobeError: it is not a list of different texts, or `output_type` does not fit.
    """
    value, kind = keys.get("doc_to_choice"), keys.get("output_type", "generate_until")
    expected = "generate_until" if value is None else "multiple_choice"
    if kind != expected:
        has = "there is no" if value is None else "there is a"
        raise RankprobeError(
            f"{path}: output_type is {short_repr(kind)} and {has} doc_to_choice; expected {expected}"
        )
    if value is None:
        return ()
    right = isinstance(value, list) and all(is_text(each) and each.strip() for each in value)
    if not right or len(value) < 2 or len({*value}) < len(value):
        raise RankprobeError(
            f"{path}: doc_to_choice is {short_repr(value)}; expected a list of two or more different texts"
        )
    return tuple(value)


def _files(path: Path, keys: Mapping[Any, Any]) -> dict[str, Path]:
    """The file of each split: of `data_files`, or beside the YAML file.

    Raises:
        RankprobeError: `data_files` does not name one file for each split.
    """
    arguments = keys.get("dataset_kwargs")
    named = arguments.get("data_files") if isinstance(arguments, Mapping) else None
    if named is None:
        return {split: path.parent / split for split in SPLITS}
    files = {}
    for split in SPLITS:
        name = keys.get(f"{'training' if split == 'train' else split}_split", split)
        file = named.get(name) if isinstance(named, Mapping) and isinstance(name, str) else None
        file = file[0] if isinstance(file, list) and len(file) == 1 else file
        if not is_text(file):
            raise RankprobeError(
                f"{path}: data_files is {short_repr(named)}; expected one file for {short_repr(name)}"
            )
        files[split] = path.parent / str(file)
    return files
