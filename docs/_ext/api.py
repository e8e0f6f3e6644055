"""The pages of the Python reference: directives that Sphinx fills with signatures and docstrings.

A name is on one page only: names of `rankprobe` itself are not on the page of the room that they come from.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import rankprobe

ROOMS = ("rank", "evaluation", "studies", "reports", "plots", "sweeps")
"""The rooms with a page of their own."""

TOP = "rankprobe"


@dataclass(frozen=True)
class Entry:
    """A public name on a page.

    Attributes:
        name: the name in its module.
        kind: `function`, `class`, `exception`, `data` or `module`.
        text: the docstring; of data the string below the assignment; empty if there is none.
        value: of data: the value as in the code, or empty if it is long.
    """

    name: str
    kind: str
    text: str
    value: str = ""


def page_names() -> dict[str, str]:
    """The modules that have a page, and the names of their pages."""
    return {TOP: TOP, **{f"{TOP}.{room}": room for room in ROOMS}}


def entries(module_name: str) -> list[Entry]:
    """The public names on the page of a module, in the order of its `__all__`."""
    module = importlib.import_module(module_name)
    taken = set() if module_name == TOP else _objects(rankprobe)
    return [_entry(module, name) for name in module.__all__ if id(getattr(module, name)) not in taken]


def api_page(module_name: str) -> str:
    """The page of a module in reStructuredText: what it is for, a summary of its names, then each of them."""
    module = importlib.import_module(module_name)
    found = entries(module_name)
    names = [entry for entry in found if entry.kind != "module"]
    title = module_name
    summary = [
        ".. autosummary::",
        "   :nosignatures:",
        "",
        *(f"   {e.name}" for e in names if e.kind != "data"),
    ]
    parts = [
        f"{title}\n{'=' * len(title)}",
        (inspect.getdoc(module) or "").splitlines()[0],
        _elsewhere(module_name, module, found),
        f".. py:module:: {module_name}",
        "\n".join(summary),
        *(_directive(entry) for entry in names),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def literal_marks(line: str) -> str:
    """A line of a docstring for reStructuredText: * and | outside of `code` are not markup."""
    parts = re.split(r"(`+[^`]*`+)", line)
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _objects(module: ModuleType) -> set[int]:
    """The functions and classes that a module names, by identity."""
    return {id(getattr(module, name)) for name in module.__all__}


def _elsewhere(module_name: str, module: ModuleType, found: list[Entry]) -> str:
    """A sentence that links to the rooms, or to the names of this room that are on the first page."""
    if module_name == TOP:
        rooms = ", ".join(f":doc:`rankprobe.{room} <{room}>`" for room in ROOMS)
        return f"``import rankprobe as rp`` gives these names. The rooms with more of them: {rooms}."
    here = {entry.name for entry in found}
    above = [name for name in module.__all__ if name not in here]
    links = ", ".join(f":py:obj:`~{TOP}.{name}`" for name in above)
    return f"On the :doc:`page of rankprobe <{TOP}>`: {links}." if above else ""


def _entry(module: ModuleType, name: str) -> Entry:
    value = getattr(module, name)
    if inspect.ismodule(value):
        return Entry(name, "module", inspect.getdoc(value) or "")
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        return Entry(name, kind, inspect.getdoc(value) or "")
    if inspect.isroutine(value):
        return Entry(name, "function", inspect.getdoc(value) or "")
    text = repr(value)
    return Entry(
        name, "data", _data_text(module, name), text if len(text) <= 80 and " at 0x" not in text else ""
    )


def _directive(entry: Entry) -> str:
    if entry.kind == "data":
        value = f"\n   :value: {entry.value}" if entry.value else ""
        text = "\n".join(f"   {literal_marks(line)}" for line in entry.text.splitlines())
        return f".. py:data:: {entry.name}{value}\n\n{text}"
    members = "" if entry.kind == "function" else "\n   :members:\n   :exclude-members: model_config"
    return f".. auto{entry.kind}:: {entry.name}{members}"


def _data_text(module: ModuleType, name: str) -> str:
    """The string below the assignment of `name`, in `module` or in the module that it imports it from."""
    body = ast.parse(inspect.getsource(module)).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return _data_text(importlib.import_module(str(node.module)), name)
        if name in _assigned(node) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            return inspect.cleandoc(str(below.value.value))
    return ""


def _assigned(node: Any) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
