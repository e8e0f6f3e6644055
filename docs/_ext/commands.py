"""The page of commands, from the Typer app: what `rankprobe COMMAND --help` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from rankprobe.cli.app import app
from rankprobe.cli.options import PANELS, SettingsCommand
from rankprobe.config import all_settings

INTRODUCTION = """# Commands

`rankprobe COMMAND --help` prints what is here. This page is made from the commands, so it is complete.
`RUN` is the id of a run, or the path of its folder. Exit codes: 0; 1: a run failed, or a system error; 2: bad
input, with one or two lines that say what to do; 130: stopped by a signal, after a checkpoint.
"""


def commands() -> dict[str, Any]:
    """Every command by its full name, such as `tasks show`, in the order of `--help`."""
    return dict(_walk(typer.main.get_command(app), ""))


def commands_page() -> str:
    """The page of commands, in MyST Markdown: a section per panel of `rankprobe --help`."""
    root = typer.main.get_command(app)
    shared = _options(root.params, "Every command takes:")
    found = commands()
    panels: dict[str, list[str]] = {}
    for name, command in found.items():
        panel = (found[name.split()[0]] if " " in name else command).rich_help_panel
        panels.setdefault(panel, []).append(_command(name, command))
    sections = [text for panel, parts in panels.items() for text in (f"## {panel}", *parts)]
    return "\n\n".join([INTRODUCTION.rstrip(), shared, *sections, ""])


def _walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield prefix + name, command
        if hasattr(command, "commands"):
            yield from _walk(command, f"{prefix}{name} ")


def _command(name: str, command: Any) -> str:
    """A command: how it is called, what it does, its own options, and which settings it takes."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    settings = [p for p in options if isinstance(command, SettingsCommand) and _is_setting(p)]
    own = [p for p in options if p not in settings]
    words = " ".join([name, *(_placeholder(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"### rankprobe {name}", f"```console\n$ rankprobe {words}\n```", help_text(command.help or "")]
    if arguments:
        parts.append("\n".join(f"- **`{_placeholder(p)}`**: {markdown(p.help or '')}" for p in arguments))
    if own:
        parts.append(_options(own))
    if settings:
        parts.append(_settings_line(settings))
    return "\n\n".join(parts)


def _is_setting(parameter: Any) -> bool:
    return parameter.name in all_settings() and parameter.rich_help_panel in PANELS.values()


def _placeholder(argument: Any) -> str:
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _options(options: list[Any], lead: str = "") -> str:
    """A table of options: the flag with the kind of its value, and its help."""
    rows = ["| option | meaning |", "|---|---|"]
    for option in options:
        flag = f"{option.opts[0]} {option.metavar or ''}".strip()
        rows.append(f"| `{flag}` | {markdown(option.help or '').replace('|', chr(92) + '|')} |")
    return "\n\n".join(filter(None, [lead, "\n".join(rows)]))


def _settings_line(settings: list[Any]) -> str:
    """The settings that a command takes as flags; the page of settings describes them."""
    flags = ", ".join(f"`{option.opts[0]}`" for option in settings)
    return f"These [settings](settings.md) are flags too: {flags}."


def help_text(text: str) -> str:
    """The help of a command as Markdown: paragraphs."""
    return "\n\n".join(markdown(block.strip()) for block in re.split(r"\n\s*\n", text) if block.strip())


def markdown(text: str) -> str:
    """A text for the terminal as Markdown: without the escapes of rich, with flags as code."""
    plain = text.replace("\\[", "[").replace("*", r"\*").replace("<", r"\<")
    return re.sub(r"(?<![\w`])(--[a-z]+(?:-[a-zA-Z]+)*)", r"`\1`", plain)
