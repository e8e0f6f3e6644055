"""Checks the shapes in public signatures while tests run.

beartype checks the functions that have a shape in their signature, and no others: tests call internals with
stand-ins of other classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

ROOMS = ("prompts", "backbone", "data", "rank", "runs", "evaluation", "training", "studies")
SHAPED = re.compile(r"\b(Float|Int|Bool|Num|Shaped|Real|Integer)\w*\[")

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is a float, as for type checkers."""

jaxtyped = jaxtyping.jaxtyped


def is_checked(function: Callable[..., Any]) -> bool:
    """Whether it is public and has a shape in its signature."""
    if function.__name__.startswith("_") and function.__name__ != "__init__":
        return False
    return bool(SHAPED.search(" ".join(map(str, getattr(function, "__annotations__", {}).values()))))


def only_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, checked by beartype if it is to be checked."""
    return checked(function) if is_checked(function) else function


def jaxtyped_if_checked(**options: Any) -> Callable[[Any], Any]:
    """`jaxtyped` for classes and for functions that are to be checked; it would wrap all, which takes time."""
    decorate = jaxtyped(**options)
    return lambda each: decorate(each) if isinstance(each, type) or is_checked(each) else each


def check_shapes() -> None:
    """Check shapes in all rooms that are imported from here on."""
    jaxtyping.jaxtyped = jaxtyped_if_checked
    jaxtyping.install_import_hook([f"rankprobe.{room}" for room in ROOMS], "shapes.only_shapes")
