"""Command line flags: shared options, and one flag per setting of the config.

A setting is described once, in the config. Its flag has the same name, type, default and description.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape
from typer.core import TyperCommand

from rankprobe.cli.complete import Completer, method_names, one_of, run_ids, task_names
from rankprobe.config import RunConfig, all_settings, methods_with, override
from rankprobe.settings import read_toml

T = TypeVar("T")

PANELS = {"": "Run", "task": "Task", "backbone": "Backbone", "method": "Method", "training": "Training",
          "logging": "Logging"}  # fmt: skip


def option(
    flag: str,
    help: str,
    *,
    default: object = None,
    metavar: str = "TEXT",
    min: float | None = None,
    complete: Completer | None = None,
) -> Any:
    """Return a typer option whose help ends with [default]; `metavar` names its value in the help."""
    text = help if default is None else escape(f"{help} [{default}]")
    return typer.Option(
        flag, help=text, show_default=False, metavar=metavar, min=min, autocompletion=complete
    )


RunsDir = Annotated[Path, option("--runs-dir", "Folder of the runs", default="runs", metavar="DIR")]
Run = Annotated[str, typer.Argument(help="Run id, or path of a run folder", autocompletion=run_ids)]
RunList = Annotated[
    list[str], typer.Argument(help="Run ids, or paths of run folders", autocompletion=run_ids)
]
Which = Annotated[str, option("--which", "The prompt: final, or best (by dev score)", default="final")]
Device = Annotated[str | None, option("--device", "auto, cpu, cuda, …; unset: the device of the training")]


class SettingsCommand(TyperCommand):
    """A command whose help omits the --no-… forms of its flags: their column would take half of each line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            parameter.secondary_opts = []
        super().format_help(ctx, formatter)


def with_settings(
    command: Callable[..., T], *, without: Sequence[str] = (), fixed: Mapping[str, str] | None = None
) -> Callable[..., T]:
    """Give `command` one flag per setting. The settings given on the command line are passed as `settings`.

    Args:
        command: takes its own parameters and `settings`, a flat mapping from name to value.
        without: settings that get no flag.
        fixed: settings with a fixed value and no flag. If `method` is fixed, settings that only other methods
            have get no flag either.
    """
    fixed = fixed or {}
    parameters = inspect.signature(command, eval_str=True).parameters
    own = {name: parameter for name, parameter in parameters.items() if name != "settings"}
    flags: dict[str, inspect.Parameter] = {}
    for name, (section, field) in all_settings().items():
        owners = methods_with(name)
        foreign = "method" in fixed and owners and fixed["method"] not in owners
        if name not in without and name not in fixed and not foreign:
            flags[name] = _flag(name, section, field)

    def run(**arguments: Any) -> T:
        settings = {name: arguments.pop(name) for name in flags}
        return command(
            **arguments, settings={k: v for k, v in settings.items() if v is not None} | dict(fixed)
        )

    run.__signature__ = inspect.Signature([*own.values(), *flags.values()])  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _flag(name: str, section: str, field: FieldInfo) -> inspect.Parameter:
    kind = _parsed_type(field.annotation)
    flag = "--" + name.replace("_", "-")
    declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    shown = str(field.default).lower() if kind is bool else str(field.default)
    default = "" if field.default is None else escape(f" [{shown}]")
    option = typer.Option(
        declared,
        help=f"{field.description}{default}",
        rich_help_panel=PANELS[section],
        show_default=False,
        metavar="" if kind is bool else {int: "INT", float: "NUM"}.get(kind, "TEXT"),
        autocompletion=_completer(name, field.annotation),
    )
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _completer(name: str, annotation: Any) -> Completer | None:
    """Return what the shell completes for a setting: names, or its choices if it has a fixed set of them."""
    known: dict[str, Completer] = {"task": task_names, "method": method_names}
    kinds = [kind for kind in (annotation, *get_args(annotation)) if get_origin(kind) is Literal]
    return known.get(name) or (one_of(get_args(kinds[0])) if kinds else None)


def _parsed_type(annotation: Any) -> type:
    """Return the type that the command line parses; pydantic checks the rest and gives our messages."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return str
    if origin in (Union, UnionType):
        return _parsed_type(next(arg for arg in args if arg is not NoneType))
    if origin is Annotated:
        return _parsed_type(args[0])
    return annotation


def build_config(settings: Mapping[str, Any], file: Path | None) -> RunConfig:
    """Return the config of a TOML file, overridden by `settings`.

    Raises:
        RankprobeError: the file cannot be read, or a setting is unknown or out of range.
    """
    return RunConfig.parse(override(read_toml(file, "config") if file else {}, settings))
