"""Print what a command found for people, or as one JSON document for programs (`--json`).

The documents are described in `bundled/output.schema.json`. A command that joins returns a `Result`, is
decorated with `with_json`, and gets its document in the schema.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import PurePath
from typing import Annotated, Any

import numpy as np
import pandas as pd

from rankprobe import __version__
from rankprobe.cli.options import option
from rankprobe.errors import RankprobeError

FORMAT = 1
"""The version of all documents. It rises if a key goes or changes its meaning, not for a new key."""

Json = Annotated[
    bool, option("--json", "Print one JSON document to standard output, and nothing else there", metavar="")
]


@dataclass(frozen=True)
class Result:
    """What a command found.

    Attributes:
        document: the content of its JSON document; `json_value` says which types it may hold.
        show: prints it for people. Without `--json`, `with_json` calls it.
        error: raised after the result is printed.
    """

    document: Mapping[str, Any]
    show: Callable[[], None] = lambda: None
    error: RankprobeError | None = None


def with_json(name: str) -> Callable[[Callable[..., Result | None]], Callable[..., None]]:
    """Give a command the flag `--json`, and print the `Result` that it returns.

    With the flag, all that the command and its libraries print to standard output (progress, names of files)
    goes to standard error, and standard output gets the document alone. If the command fails, it stays empty,
    except that a sweep with failed runs prints its outcome.

    Args:
        name: the command as users type it, such as `tasks show`; the key `command` of its document.
    """

    def decorate(command: Callable[..., Result | None]) -> Callable[..., None]:
        parameters = inspect.signature(command, eval_str=True).parameters.values()

        def run(*, as_json: bool = False, **arguments: Any) -> None:
            if not as_json:
                result = command(**arguments)
                if result:
                    result.show()
            else:
                with redirect_stdout(sys.stderr):
                    result = command(**arguments)
                if result is None:
                    raise RankprobeError(f"--json goes last, as in: rankprobe {name} show cb --json")
                print(document(name, result.document))  # noqa: T201
            if result and result.error:
                raise result.error

        flag = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
        run.__signature__ = inspect.Signature([*parameters, flag])  # type: ignore[attr-defined]
        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        return run

    return decorate


def document(command: str, content: Mapping[str, Any]) -> str:
    """Return the JSON document of a command, in ASCII, so that no terminal or locale changes a character."""
    head = {"command": command, "format": FORMAT, "rankprobe": __version__}
    return json.dumps(json_value({**head, **content}), indent=2, allow_nan=False)


def json_value(value: Any) -> Any:
    """Return `value` in the types of JSON.

    NaN, infinity and missing values become None; a frame becomes a list of its rows; numpy's numbers and
    arrays, dataclasses and paths become numbers, lists, objects and texts.

    >>> json_value({"k": np.int64(3), "low": float("nan"), "path": PurePath("runs/one")})
    {'k': 3, 'low': None, 'path': 'runs/one'}

    Raises:
        TypeError: a value of another type.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, pd.DataFrame):
        return [json_value(row) for row in value.to_dict("records")]
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return json_value(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return json_value(asdict(value))
    if isinstance(value, PurePath):
        return str(value)
    if value is pd.NA or value is pd.NaT:
        return None
    raise TypeError(f"{type(value).__name__} has no form in JSON")
