"""Plugins: methods, tasks, measures and trackers that other installed packages add, by their entry points.

A package adds to a kind of things with an entry point of the group `rankprobe.methods`, `rankprobe.tasks`,
`rankprobe.measures` or `rankprobe.trackers`. The name of the entry point is the name of the thing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from rankprobe.errors import RankprobeError
from rankprobe.text import plain

Thing = TypeVar("Thing")

KINDS = ("method", "task", "measure", "tracker")

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Names are parts of run ids, folders and columns."""


class Registry(Mapping[str, Thing], Generic[Thing]):
    """The things of one kind by name: those of rankprobe, and those of plugins.

    Plugins are imported when the registry is first read, so a plugin can import the room of the registry. One
    that cannot be used is left out, with a warning of one line that names its package and the reason.
    """

    def __init__(
        self, kind: str, own: Mapping[str, Thing], convert: Callable[[str, Any, Mapping[str, Thing]], Thing]
    ) -> None:
        """
        Args:
            kind: one of `KINDS`.
            own: the things of rankprobe. A plugin cannot replace them.
            convert: returns the value for a name and an object of a plugin, given all things so far; raises a
                RankprobeError if the object does not fit.
        """
        self.kind = kind
        self.own = own
        self._convert = convert
        self._checks: list[Callable[[str, Thing], None]] = []

    def __getitem__(self, name: str) -> Thing:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return repr(self._all)

    @property
    def added(self) -> tuple[str, ...]:
        """The names that plugins add."""
        return tuple(name for name in self._all if name not in self.own)

    def require(self, check: Callable[[str, Thing], None]) -> None:
        """Add a check of what plugins add, for a room above that of the registry.

        Args:
            check: raises a RankprobeError for a name and a value that do not fit.
        """
        self._checks.append(check)
        self.__dict__.pop("_all", None)

    @cached_property
    def _all(self) -> dict[str, Thing]:
        things = dict(self.own)
        for point in _points():
            if point.group == f"rankprobe.{self.kind}s":
                try:
                    things[point.name] = self._load(point, things)
                except (Exception, SystemExit) as error:
                    warnings.warn(
                        f"left out: {self.kind} '{plain(point.name)}' of the package "
                        f"'{package_of(point)}' ({reason_of(error)}); update the package, or uninstall it",
                        stacklevel=2,
                    )
        return things

    def _load(self, point: EntryPoint, things: Mapping[str, Thing]) -> Thing:
        """Import what an entry point names.

        Raises:
            RankprobeError: the name cannot be used, or the object does not fit.
            Exception: of the module of the plugin.
        """
        if not NAME.fullmatch(point.name):
            raise RankprobeError("a name has small letters, digits and _, and starts with a letter")
        if point.name in things:
            owner = "rankprobe" if point.name in self.own else "another plugin"
            raise RankprobeError(f"{owner} has a {self.kind} of this name")
        thing = self._convert(point.name, point.load(), things)
        for check in self._checks:
            check(point.name, thing)
        return thing


def packages() -> dict[str, str]:
    """Return the installed packages with plugins, and their versions."""
    return {point.dist.name: point.dist.version for point in _points() if point.dist}


def package_of(point: EntryPoint) -> str:
    """Return the name of the package of an entry point."""
    return plain(point.dist.name if point.dist else point.value)


@cache
def _points() -> list[EntryPoint]:
    """The entry points of all kinds, in the order of their packages and names."""
    every = entry_points()
    points = [point for kind in KINDS for point in every.select(group=f"rankprobe.{kind}s")]
    return sorted(points, key=lambda point: (package_of(point), point.name))


def reason_of(error: BaseException) -> str:
    """An error as one line: its own words if it is ours, otherwise with its type."""
    if isinstance(error, RankprobeError):
        return plain(error)
    text = str(error).strip()
    return f"{type(error).__name__}: {plain(text.splitlines()[0])}" if text else type(error).__name__
