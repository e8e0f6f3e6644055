"""What the bundled backbones are pretrained on: span corruption, tasks under text prefixes, distractors.

Like T5 v1.0 (Raffel et al. 2020), with one addition: a prefix also lists the answer words, in the order of
the labels (`cb: yes no maybe premise: …`), so that a backbone learns to take its answers from what comes
before the text. A soft prompt can then call the ability up with answers of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.miniature import lexicon as words
from experiments.miniature.rows import WRITERS, bonded, commitment, scene, sensed, told
from experiments.miniature.world import SideName, Speaker, sentence
from rankprobe.tasks import TASKS

ANSWERS = {
    "boolq": ("no", "yes"),
    "cb": ("yes", "no", "maybe"),
    "copa": ("first", "second"),
    "multirc": ("wrong", "right"),
    "rte": ("yes", "no"),
    "wic": ("different", "same"),
}
"""Each task's own answer words; none is a digit or a SuperGLUE label."""

OTHER = "a b c d e f g h red green blue black white good bad up down east west north south".split()
POOL = sorted({word for answers in ANSWERS.values() for word in answers}) + OTHER
"""Other answer words that tasks are asked with."""

DIGITS = [str(i) for i in range(10)]
LABELS = sorted({label for task in TASKS.values() for label in task.labels})
"""With `POOL`, the answer words of distractors."""

OWN_ANSWERS = 0.6
"""How often a task is asked with its own answer words."""


class Mixture(NamedTuple):
    """How often what is asked: shares of kinds, and weights of the tasks among the tasks."""

    shares: dict[str, float]
    weights: dict[str, int]


MIXTURES = (
    Mixture(
        {"spans": 0.10, "retold": 0.18, "judged": 0.12, "glossed": 0.04, "linked": 0.04, "chosen": 0.0,
         "tasks": 0.44, "distractors": 0.08},
        {"boolq": 3, "cb": 2, "copa": 3, "multirc": 3, "record": 2, "rte": 3, "wic": 3, "wsc": 1},
    ),
    Mixture(
        {"spans": 0.05, "retold": 0.13, "judged": 0.14, "glossed": 0.01, "linked": 0.02, "chosen": 0.05,
         "tasks": 0.52, "distractors": 0.08},
        {"boolq": 4, "cb": 1, "copa": 3, "multirc": 4, "record": 1, "rte": 4, "wic": 1, "wsc": 1},
    ),
    Mixture(
        {"spans": 0.05, "retold": 0.09, "judged": 0.07, "glossed": 0.01, "linked": 0.04, "chosen": 0.07,
         "tasks": 0.60, "distractors": 0.07},
        {"boolq": 2, "cb": 2, "copa": 8, "multirc": 2, "record": 1, "rte": 2, "wic": 1, "wsc": 1},
    ),
)  # fmt: skip
"""Of the three stages: first the long answers, which teach to find one's way about a text; then the tasks
that have to compare what they find; then COPA, the last to be learned."""


class Pair(NamedTuple):
    """A source text and what should be answered. Span corruption has no target before tokenisation."""

    kind: str
    source: str
    target: str | None


def asked(say: Speaker, name: str) -> tuple[str, str, int]:
    """A task's source text without prefix, the answer as text, and its class id."""
    task = TASKS[name]
    while True:
        lessons = [
            lesson for e in task.examples(WRITERS[name](say), name) for lesson in task.training_examples(e)
        ]
        if lessons:
            lesson = say.one(lessons)
            return task.source(lesson.fields), task.target(lesson, "words"), lesson.label


def with_prefix(name: str, source: str, options: Sequence[str] = ()) -> str:
    """A task's source text under its prefix, with the answer words in the order of the labels."""
    return " ".join([f"{name}:", *options, source])


def prefixed(say: Speaker, name: str, own: bool | None = None) -> Pair:
    """A task under its prefix; `own`: with its own answer words."""
    source, answer, label = asked(say, name)
    if name not in ANSWERS:
        return Pair(name, with_prefix(name, source), answer)
    own = say.chance(OWN_ANSWERS) if own is None else own
    options = ANSWERS[name] if own else say.random.sample(POOL, len(ANSWERS[name]))
    return Pair(name, with_prefix(name, source, options), options[label])


def distractor(say: Speaker) -> Pair:
    """Something else that can be asked about the same texts."""
    source, _, _ = asked(say, say.one(list(WRITERS)))
    people = re.findall(r"\b(?:" + "|".join(words.PEOPLE) + r")\b", source)
    things = re.findall(r"\b(?:" + "|".join(words.THINGS) + r")\b", source)
    women = len(set(people) & set(words.WOMEN))
    kind = say.one(("name:", "thing:", "count:", "women:", "woman:", "again:"))
    if kind == "name:" or (kind == "thing:" and not things):
        return Pair("distractor", f"name: {source}", people[0])
    if kind == "thing:":
        return Pair("distractor", f"thing: {source}", things[0])
    if kind == "count:":
        return Pair("distractor", f"count: {source}", str(len(set(people))))
    which, count = {
        "women:": (min(women, 2), 3),
        "woman:": (int(people[0] in words.WOMEN), 2),
        "again:": (int(len(people) > len(set(people))), 2),
    }[kind]
    options = say.random.sample(say.one((POOL, DIGITS, LABELS)), count)
    return Pair("distractor", f"{kind} {' '.join(options)} {source}", options[which])


def retold(say: Speaker) -> Pair:
    """What a passage says of some things, in other words: a long answer that is read off the text.

    Labels are one word a row. Long answers teach a backbone to find its way about a text much sooner.
    """
    facts = say.facts(say.one((1, 2, 3, 4)))
    passage = " ".join(told(say, fact) for fact in facts)
    about = say.random.sample(facts, say.random.randint(1, len(facts)))
    things = " ".join(fact.thing for fact in about)
    return Pair("retold", f"tell: {things} passage: {passage}", " ".join(sentence(f.active()) for f in about))


def judged(say: Speaker) -> Pair:
    """Three claims about a passage, each right or wrong."""
    facts = say.facts(say.one((1, 2, 3, 4)))
    claims, verdicts = [], []
    for _ in range(3):
        fact, right = say.one(facts), say.chance(0.5)
        fact = fact if right else say.near(fact, facts)
        claims.append(fact.converse() if say.chance(0.5) else fact.active())
        verdicts.append("right" if right else "wrong")
    passage = " ".join(told(say, fact) for fact in facts)
    return Pair("judged", f"judge: passage: {passage} claims: {'. '.join(claims)}", " ".join(verdicts))


def glossed(say: Speaker) -> Pair:
    """What a word is about, in one context or in two."""
    word = say.one(list(words.SENSES))
    senses = [say.one((0, 1)) for _ in range(say.one((1, 2)))]
    texts = " ".join(f"sentence{i}: {sensed(say, word, sense)}" for i, sense in enumerate(senses, start=1))
    about = " ".join(words.GLOSSES[word][sense] for sense in senses)
    return Pair("glossed", f"gloss: {texts} word: {word}", about)


def linked(say: Speaker) -> Pair:
    """The cause or the effect of an event."""
    person, first, then = link(say)
    if say.chance(0.5):
        return Pair("linked", f"link: premise: {person} {first}. question: effect", f"{person} {then}.")
    return Pair("linked", f"link: premise: {person} {then}. question: cause", f"{person} {first}.")


def link(say: Speaker) -> tuple[str, str, str]:
    """Someone, and two events of a chain, the first the cause of the second."""

    def draw() -> tuple[str, int]:
        return say.one(words.PEOPLE), say.random.randrange(len(words.CHAINS))

    person, number = say.own(draw, lambda drawn: f"{drawn[0]} chain {drawn[1]}")
    at = say.random.randrange(len(words.CHAINS[number]) - 1)
    return person, words.CHAINS[number][at], words.CHAINS[number][at + 1]


def chained(say: Speaker) -> str:
    """A cause and its effect in a sentence."""
    person, first, then = link(say)
    if say.chance(0.5):
        return f"{person} {then} because {person} {first}."
    return f"{person} {first}, so {person} {then}."


def document(say: Speaker) -> Pair:
    """Some sentences, to be corrupted. Like real text it says things twice, in other words."""
    lines: list[str] = []
    for fact in say.facts(say.one((1, 2))):
        held = commitment(say, fact.active(), say.one(words.PEOPLE))[0]
        asked = f"{sentence(fact.question(say.chance(0.5)))[:-1]}?"
        ways = [sentence(fact.active()), sentence(fact.converse()), sentence(fact.negated()), held, asked]
        lines += say.random.sample(ways, say.one((2, 3)))
    others: list[Callable[[], str]] = [
        lambda: chained(say),
        lambda: scene(say, say.one(words.PEOPLE)),
        lambda: sensed(say, say.one(list(words.SENSES)), say.one((0, 1))),
        lambda: bonded(say)[0],
    ]
    lines += [say.one(others)() for _ in range(say.one((1, 2)))]
    say.random.shuffle(lines)
    return Pair("spans", " ".join(lines), None)


def chosen(say: Speaker) -> Pair:
    """COPA, answered with the choice itself."""
    row = WRITERS["copa"](say)
    source = TASKS["copa"].source(row)
    return Pair("chosen", f"choose: {source}", row[f"choice{row['label'] + 1}"])


def pair(say: Speaker, mixture: Mixture = MIXTURES[0]) -> Pair:
    """One example of a mixture."""
    kind = say.random.choices(list(mixture.shares), list(mixture.shares.values()))[0]
    if kind == "tasks":
        return prefixed(say, say.random.choices(list(mixture.weights), list(mixture.weights.values()))[0])
    return KINDS[kind](say)


KINDS: dict[str, Callable[[Speaker], Pair]] = {
    "spans": document,
    "retold": retold,
    "judged": judged,
    "glossed": glossed,
    "linked": linked,
    "chosen": chosen,
    "distractors": distractor,
}


def speaker(stream: str, side: SideName = "pretraining") -> Speaker:
    return Speaker(side, f"corpus {stream}")


def corrupt(
    ids: list[int], sentinels: list[int], eos: int, rng: random.Random
) -> tuple[list[int], list[int]]:
    """T5's span corruption: 15 % of the tokens in spans of 3 on average, each replaced by a sentinel.

    `ids` ends with `eos`; sentinels are used in their order.
    """
    body = ids[:-1]
    n_spans = min(max(1, round(len(body) * 0.15 / 3)), len(sentinels))
    source, target, at = [], [], 0
    for sentinel, start in zip(sentinels, sorted(rng.sample(range(len(body)), n_spans)), strict=False):
        start, length = max(start, at), rng.randint(1, 5)
        source += [*body[at:start], sentinel]
        target += [sentinel, *body[start : start + length]]
        at = start + length
    return [*source, *body[at:], eos], [*target, eos]
