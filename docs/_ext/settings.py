"""The page of settings, from the config sections, and what the page of commands needs to know about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from rankprobe.config.run import SECTIONS, all_settings, methods_with
from rankprobe.prompts import METHODS

TITLES = {
    "": "Run",
    "task": "Task: what is trained on",
    "backbone": "Backbone: what is frozen",
    "method": "Method: what is trained",
    "training": "Training",
    "logging": "Logging",
}
"""The sections in the order of `--help`, and their headings."""

SOURCE = re.compile(r"\(((?:paper|authors'|ours|Lester|Wu|Li|Shi|AdaLoRA)[^()]*)\)")
"""Where a default comes from, as descriptions say it."""

INTRODUCTION = """# Settings

A setting has one name everywhere: as a flag (`--learning-rate`), as a key of a TOML file (`learning_rate`),
as a keyword of `rankprobe.probe(...)`, and as a column of the frames. This page is made from the code, so
it is complete.

*Source* says where the default comes from: "paper" is [Xiao et al. (2023)](../related-work.md), with the
section; "authors' code" is the code that they released, where the paper is silent; "ours" is our own choice.
Where a value follows ("authors' code: on"), that source does what the value says.
[Reproducing the paper](../reproducing-the-paper.md) lists where rankprobe differs, and why.
"""


def settings_page() -> str:
    """The page of settings, in MyST Markdown: a table per section, with every setting of every method."""
    return "\n".join([INTRODUCTION, *(_section(name, title) for name, title in TITLES.items())])


def settings_of(section: str) -> dict[str, FieldInfo]:
    """The settings of a section by name, in the order of `--help`."""
    return {name: field for name, (where, field) in all_settings().items() if where == section}


def _section(section: str, title: str) -> str:
    fields = settings_of(section)
    differs = _differs(SECTIONS[section].__doc__ or "") if section in SECTIONS else ""
    if section != "method":
        return f"\n## {title}\n\n{differs}{_table(fields)}\n"
    groups: dict[tuple[str, ...], dict[str, FieldInfo]] = {}
    for name, field in fields.items():
        groups.setdefault(tuple(methods_with(name)) or tuple(METHODS), {})[name] = field
    parts = [f"\n## {title}"]
    for owners, group in groups.items():
        named = "all methods" if len(owners) == len(METHODS) else ", ".join(f"`{owner}`" for owner in owners)
        parts.append(f"\n### Settings of {named}\n\n{_table(group)}")
    return "\n".join(parts)


def _differs(docstring: str) -> str:
    """The paragraph of a section's docstring that says where we differ from the source."""
    found = re.search(r"Differs: (.+?)(?:\n\s*\n|$)", docstring, re.DOTALL)
    return f"*Where we differ*: {' '.join(found[1].split())}\n\n" if found else ""


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = [
        "```{container} settings",
        "| setting | type | default | meaning | source |",
        "|---|---|---|---|---|",
    ]
    for name, field in fields.items():
        default = _code(field.default) + _own_defaults(name, field)
        cells = [f"`{name}`", type_text(field), default, _meaning(field), source_text(field)]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*rows, "```"])


def _meaning(field: FieldInfo) -> str:
    """The description, with flags as code; without its source if it names one only, which has a column."""
    text = field.description or ""
    if len(SOURCE.findall(text)) == 1 and source_text(field):
        text = SOURCE.sub("", text).replace(" ;", ";").replace(" ,", ",").rstrip()
    return re.sub(r"(?<!\w)(--[a-z-]+)", r"`\1`", text)


def _own_defaults(name: str, field: FieldInfo) -> str:
    """The defaults of methods that differ from the one in the table."""
    own = {}
    for method, (config, _) in METHODS.items():
        inner = config.model_fields.get(name)
        value = inner.default if inner else config.training.get(name, field.default)
        if value != field.default:
            own[method] = value
    return "".join(f"; {method}: {_code(value)}" for method, value in own.items())


def _code(value: Any) -> str:
    if value is None:
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def source_text(field: FieldInfo) -> str:
    """Where the default comes from, in the words of the description; empty if that says nothing.

    A description that explains several values names a source for each: the one after the default counts.
    """
    text = field.description or ""
    if isinstance(field.default, str):
        clauses = re.split(r", (?![^(]*\))|; ", text)
        text = next((c for c in clauses if re.search(rf"\b{re.escape(field.default)}\b", c)), "")
    return "; ".join(found.split(";")[0] for found in SOURCE.findall(text))


def type_text(field: FieldInfo) -> str:
    """The type of a setting in words, with its bounds: `whole number > 0`, or its choices."""
    names = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    bounds = []
    kind = field.annotation
    marks = list(field.metadata)
    for part in _parts(kind):
        if get_origin(part) is Literal:
            return ", ".join(f"`{choice}`" for choice in get_args(part))
        if get_origin(part) is Annotated:
            kind, *inner = get_args(part)
            marks += inner
        else:
            kind = part
    for mark in marks:
        for sign, key in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
            if (bound := getattr(mark, key, None)) is not None:
                bounds.append(f"{sign} {'2⁶⁴' if bound == 2**64 else bound}")
    return " ".join([names[kind], ", ".join(bounds)]).strip()


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, without None."""
    if get_origin(annotation) in (Literal, Annotated) or not get_args(annotation):
        yield annotation
    else:
        yield from (part for part in get_args(annotation) if part is not NoneType)
