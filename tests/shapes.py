"""Checks the shapes in public signatures while tests run.

beartype checks the functions that have a shape in their signature, and no others: tests call internals with
stand-ins of other classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

ROOMS = ("prompts", "backbone", "data", "rank", "runs", "evaluation", "training", "studies")
SHAPED = re.compile(r"\b(Float|Int|Bool|Num|Shaped|Real|Integer)\w*\[")

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is a float, as for type checkers."""


def only_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, checked by beartype if it is public and has a shape in its signature."""
    if function.__name__.startswith("_") and function.__name__ != "__init__":
        return function
    hints = " ".join(map(str, getattr(function, "__annotations__", {}).values()))
    return checked(function) if SHAPED.search(hints) else function


def check_shapes() -> None:
    """Check shapes in all rooms that are imported from here on."""
    install_import_hook([f"rankprobe.{room}" for room in ROOMS], "shapes.only_shapes")
