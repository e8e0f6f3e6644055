"""The command line: `main` runs a command, and turns errors into one or two lines and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.text import plain, plain_lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `rankprobe` command.

    Exit codes: 0; 1 (a run failed, or a system error); 2 (bad input); 130 (stopped by a signal).
    """
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # before the command began: imports take a second
        code = 130
    sys.exit(code)


def _main(words: list[str]) -> int | None:
    """Handle the options of all commands, then run the command; return the exit code."""
    from rankprobe.cli.lines import QUIET
    from rankprobe.cli.verbose import log_to_stderr

    _replace_unprintable()
    QUIET.set("--quiet" in words)
    if QUIET.get():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when huggingface_hub is imported
        words.remove("--quiet")
    verbose = words.count("--verbose")
    if verbose and QUIET.get():
        return _print_error("--verbose and --quiet exclude each other; give one", 2)
    words = [word for word in words if word != "--verbose"]
    with log_to_stderr(verbose):
        return _run([each for each in words if each != "--debug"]) if "--debug" in words else _guarded(words)


def _guarded(words: list[str]) -> int | None:
    """Run a command, and print what goes wrong on one or two lines; return the exit code."""
    import typer

    usage_error: type[Exception] = typer.BadParameter.__mro__[1]  # UsageError, not public in typer
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        try:
            code = _run(words)
        except RunInterrupted as stopped:
            code = _print_error(str(stopped), stopped.exit_code, prefix="")
        except RankprobeError as error:
            code = _print_error(str(error), error.exit_code)
        except usage_error as error:
            code = _print_error(_usage_message(error), 2)
        except OSError as error:
            code = _print_error(str(error), 1)
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            code = _print_error(f"{type(error).__name__}: {error} (--debug shows the traceback)", 1)
    return code


def _run(words: list[str]) -> int | None:
    from rankprobe.cli.app import app  # this reads what plugins add, which may warn

    return app(args=words or ["--help"], prog_name="rankprobe", standalone_mode=False)


def _usage_message(error: Any) -> str:
    """Return the error message of a wrong command line; it names the help, or what to write instead."""
    from rankprobe.settings import RENAMED_SETTINGS

    command = error.ctx.command_path if error.ctx else "rankprobe"
    option = str(getattr(error, "option_name", "")).removeprefix("--").replace("-", "_")
    if option in RENAMED_SETTINGS:
        return f"--{option} is named --{RENAMED_SETTINGS[option].replace('_', '-')} now"
    if option == "method" and command == "rankprobe probe":
        return "probe always trains the probe; for another method: rankprobe train --method NAME"
    return f"{error.format_message().rstrip('.')} (see: {command} --help)"


def _replace_unprintable() -> None:
    """Print ? for characters that the terminal or locale cannot show, instead of raising an error.

    An error handler that the user chose, as in PYTHONIOENCODING=ascii:xmlcharrefreplace, is kept.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            # surrogateescape restores the bytes of paths; UTF-8 can encode all other characters.
            if stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8):
                stream.reconfigure(errors="replace")


def _print_error(message: str, code: int, prefix: str = "error: ") -> int:
    with suppress(OSError):  # the terminal may be closed; the exit code remains
        print(f"{prefix}{plain_lines(message)}", file=sys.stderr)  # noqa: T201
    return code


def _print_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    """Print a warning on one line, without the line of source code that Python adds."""
    print(f"{category.__name__}: {plain(message)}", file=sys.stderr)  # noqa: T201
