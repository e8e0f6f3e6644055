"""Sentences of the miniature world, and which side of the wall each one belongs to.

Everything that is said is owned, by a hash, by one of three sides: the pretraining corpus, the training rows
or the validation rows. A side only ever says what it owns, so no sentence is shared between them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from experiments.miniature.lexicon import DEEDS, MEN, PARTICIPLES, PEOPLE, PLACES, THINGS, TRANSFERS, WOMEN

SideName = Literal["pretraining", "train", "val"]
SHARES: dict[SideName, int] = {"pretraining": 72, "train": 16, "val": 12}
"""Hundredths of all that can be said."""

T = TypeVar("T")


def owner(key: str) -> SideName:
    """The side that may say what `key` stands for; the same on every machine."""
    place = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % 100
    for side, share in SHARES.items():
        if place < share:
            return side
        place -= share
    raise AssertionError("the shares add up to 100")


@dataclass(frozen=True)
class Fact:
    """Someone did something with a thing (somewhere), or, with a `taker`, gave it away.

    `place` is no part of the fact's identity: who may tell the fact may tell it with any place.
    """

    person: str
    verb: str
    thing: str
    taker: str | None = None
    place: str | None = None

    @property
    def key(self) -> str:
        return f"{self.person} {self.verb} {self.thing} {self.taker}"

    def _where(self) -> str:
        return f" in the {self.place}" if self.place else ""

    def active(self) -> str:
        if self.taker:
            return f"{self.person} {TRANSFERS[self.verb][0]} the {self.thing} to {self.taker}{self._where()}"
        return f"{self.person} {DEEDS[self.verb]} the {self.thing}{self._where()}"

    def converse(self) -> str:
        """The same from the other end: passive, or what the taker did."""
        if self.taker:
            past = TRANSFERS[self.verb][2]
            return f"{self.taker} {past} the {self.thing} from {self.person}{self._where()}"
        past = DEEDS[self.verb]
        return f"the {self.thing} was {PARTICIPLES.get(past, past)} by {self.person}{self._where()}"

    def negated(self) -> str:
        tail = f" to {self.taker}" if self.taker else ""
        return f"{self.person} did not {self.verb} the {self.thing}{tail}{self._where()}"

    def question(self, converse: bool) -> str:
        """A yes-or-no question."""
        if self.taker and converse:
            return f"did {self.taker} {TRANSFERS[self.verb][1]} the {self.thing} from {self.person}"
        if self.taker:
            return f"did {self.person} {self.verb} the {self.thing} to {self.taker}"
        if converse:
            past = DEEDS[self.verb]
            return f"was the {self.thing} {PARTICIPLES.get(past, past)} by {self.person}"
        return f"did {self.person} {self.verb} the {self.thing}"


def sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:] + "."


class Speaker:
    """Draws what one side may say, from its own stream of random numbers."""

    def __init__(self, side: SideName, stream: str) -> None:
        self.side = side
        self.random = random.Random(f"{side} {stream}")

    def one(self, options: Sequence[T]) -> T:
        return self.random.choice(options)

    def two(self, options: Sequence[T]) -> list[T]:
        return self.random.sample(options, 2)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def own(self, draw: Callable[[], T], key: Callable[[T], str]) -> T:
        """Draw until this side owns the result."""
        while True:
            drawn = draw()
            if owner(key(drawn)) == self.side:
                return drawn

    def fact(self) -> Fact:
        def draw() -> Fact:
            person, taker = self.two(PEOPLE)
            place = self.one(PLACES) if self.chance(0.4) else None
            if self.chance(0.3):
                return Fact(person, self.one(list(TRANSFERS)), self.one(THINGS), taker, place)
            return Fact(person, self.one(list(DEEDS)), self.one(THINGS), None, place)

        return self.own(draw, lambda fact: fact.key)

    def facts(self, count: int) -> list[Fact]:
        """Facts about different things, so that each question has one answer."""
        drawn: dict[str, Fact] = {}
        while len(drawn) < count:
            fact = self.fact()
            drawn.setdefault(fact.thing, fact)
        return list(drawn.values())

    def near(self, fact: Fact, told: Sequence[Fact]) -> Fact:
        """A fact like `fact` that none of `told` says: another person, verb or thing, if need be any."""

        def draw() -> Fact:
            people = [f.person for f in told] + [self.one(PEOPLE)]
            things = [f.thing for f in told] + [self.one(THINGS)]
            verbs = list(TRANSFERS if fact.taker else DEEDS)
            which = self.random.randrange(3)
            return Fact(
                self.one(people) if which == 0 else fact.person,
                self.one(verbs) if which == 1 else fact.verb,
                self.one(things) if which == 2 else fact.thing,
                fact.taker,
            )

        taken = {f.key for f in told}
        for _ in range(200):
            drawn = draw()
            if drawn.key not in taken and drawn.person != drawn.taker and owner(drawn.key) == self.side:
                return drawn
        return self.near(self.fact(), told)

    def pair(self) -> tuple[str, str, bool]:
        """Two people; the flag says that a pronoun cannot tell them apart."""
        if self.chance(0.7):
            first, second = self.two(self.one((WOMEN, MEN)))
            return first, second, True
        first, second = self.one(WOMEN), self.one(MEN)
        return (first, second, False) if self.chance(0.5) else (second, first, False)
