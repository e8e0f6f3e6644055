"""Flags from the config: each setting is one flag with the setting's name, type, default and description.

So a setting is described once, and the command line cannot drift from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from rankprobe.settings import read_toml
from rankprobe.training.config import RunConfig, leaves, methods_with

PANELS = {"": "Run", "task": "Task", "backbone": "Backbone", "method": "Method", "training": "Training",
          "logging": "Logging"}  # fmt: skip


def with_settings(
    command: Callable[..., None], *, without: Sequence[str] = (), fixed: Mapping[str, str] | None = None
) -> Callable[..., None]:
    """Give `command` a flag per setting; those given on the command line reach it as `settings`.

    Args:
        command: takes its own parameters and `settings`, a mapping by flat name.
        without: settings that get no flag.
        fixed: settings with one value and no flag; a fixed `method` leaves out what only others have.
    """
    fixed = fixed or {}
    parameters = inspect.signature(command, eval_str=True).parameters
    own = {name: parameter for name, parameter in parameters.items() if name != "settings"}
    flags: dict[str, inspect.Parameter] = {}
    for name, section, leaf, field in leaves():
        foreign = "method" in fixed and section == "method" and fixed["method"] not in methods_with(leaf)
        if name not in without and name not in fixed and not foreign:
            flags[name] = _flag(name, section, field)

    def run(**given: Any) -> None:
        settings = {name: given.pop(name) for name in flags}
        command(**given, settings={k: v for k, v in settings.items() if v is not None} | dict(fixed))

    run.__signature__ = inspect.Signature([*own.values(), *flags.values()])  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _flag(name: str, section: str, field: FieldInfo) -> inspect.Parameter:
    kind = _plain(field.annotation)
    flag = "--" + name.replace("_", "-")
    spelled = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    shown = str(field.default).lower() if kind is bool else str(field.default)
    default = "" if field.default is None else escape(f" [{shown}]")
    option = typer.Option(
        spelled,
        help=f"{field.description}{default}",
        rich_help_panel=PANELS[section],
        show_default=False,
        metavar="" if kind is bool else {int: "INT", float: "NUM"}.get(kind, "TEXT"),
    )
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain(annotation: Any) -> type:
    """The type that the command line parses; pydantic checks the rest, with our messages."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return str
    if origin in (Union, UnionType):
        return _plain(next(arg for arg in args if arg is not NoneType))
    if origin is Annotated:
        return _plain(args[0])
    return annotation


def build_config(settings: Mapping[str, Any], file: Path | None) -> RunConfig:
    """The config of a TOML file, overridden by flags.

    Raises:
        RankprobeError: the file cannot be read, or a setting is unknown or out of range.
    """
    return RunConfig.from_flat(settings, base=read_toml(file, "config") if file else None)
