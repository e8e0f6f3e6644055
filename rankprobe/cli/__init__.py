"""The front desk: `main` runs a command and turns errors into one or two lines and an exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

from rankprobe.errors import RankprobeError, RunInterrupted
from rankprobe.text import plain, plain_lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `rankprobe` command.

    Exits with 0, 1 (a run failed, or the system refused), 2 (bad input) or 130 (stopped on request).
    """
    import typer

    from rankprobe.cli.app import app

    _print_always()
    usage_error: type[Exception] = typer.BadParameter.__mro__[1]
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in given:
        sys.exit(app(args=[word for word in given if word != "--debug"], standalone_mode=False))
    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        try:
            code = app(args=given or ["--help"], standalone_mode=False)
        except RunInterrupted as stopped:
            code = _say(str(stopped), stopped.exit_code, kind="")
        except RankprobeError as error:
            code = _say(str(error), error.exit_code)
        except usage_error as error:
            code = _say(f"{error.format_message()} (see: rankprobe --help)", 2)  # type: ignore[attr-defined]
        except OSError as error:
            code = _say(str(error), 1)
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            code = _say(f"{type(error).__name__}: {error} (--debug shows where)", 1)
    sys.exit(code)


def _print_always() -> None:
    """Replace what a terminal or a locale that is not UTF-8 cannot show, instead of ending the command.

    A way to print it that the user chose, as with PYTHONIOENCODING=ascii:xmlcharrefreplace, stays.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            # surrogateescape is for the bytes of paths alone; in UTF-8 they are all that is not encoded.
            if stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8):
                stream.reconfigure(errors="replace")


def _say(message: str, code: int, kind: str = "error: ") -> int:
    with suppress(OSError):  # the terminal was closed; the exit code still tells
        print(f"{kind}{plain_lines(message)}", file=sys.stderr)  # noqa: T201
    return code


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    """A warning as one line without the source code around it; nothing is left out."""
    print(f"{category.__name__}: {plain(message)}", file=sys.stderr)  # noqa: T201
