"""One row of each task, in the layout of the official SuperGLUE release (without `idx`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from experiments.miniature import lexicon as words
from experiments.miniature.world import Fact, Speaker, sentence

Row = dict[str, Any]


def scene(say: Speaker, person: str) -> str:
    return say.own(lambda: f"{person} {say.one(words.SCENES)} {say.one(words.TIMES)}.", str)


def told(say: Speaker, fact: Fact) -> str:
    return sentence(fact.converse() if say.chance(0.4) else fact.active())


# CB: does the author hold the clause to be true, false, or leave it open?


def commitment(say: Speaker, clause: str, speaker: str) -> tuple[str, str]:
    """A sentence around `clause`, and what it commits its author to."""
    kind = say.one(("factive", "antifactive", "veridical", "neutral", "true", "false"))
    shape = say.one(("plain", "plain", "negated", "asked"))
    if kind in ("true", "false"):
        adjective = say.one(words.TRUE if kind == "true" else words.FALSE)
        negated = shape == "negated"
        holds = (kind == "true") != negated
        text = f"It is {'not ' if negated else ''}{adjective} that {clause}."
        return text, "entailment" if holds else "contradiction"
    verbs = {
        "factive": words.FACTIVE,
        "antifactive": words.ANTIFACTIVE,
        "veridical": words.VERIDICAL,
        "neutral": words.NEUTRAL,
    }[kind]
    base, past = say.one(verbs)
    if kind == "antifactive" and shape == "negated":
        shape = "plain"
    text = {
        "plain": f"{speaker} {past} that {clause}.",
        "negated": f"{speaker} did not {base} that {clause}.",
        "asked": f"Did {speaker} {base} that {clause}?",
    }[shape]
    if kind == "factive":
        return text, "entailment"
    if kind == "antifactive":
        return text, "contradiction"
    return text, "entailment" if kind == "veridical" and shape == "plain" else "neutral"


def cb(say: Speaker) -> Row:
    wanted = say.random.choices(("entailment", "contradiction", "neutral"), (0.42, 0.38, 0.20))[0]
    while True:
        fact = say.fact()
        speaker = say.one([p for p in words.PEOPLE if p not in (fact.person, fact.taker)])
        text, label = commitment(say, fact.active(), speaker)
        hypothesis = fact.active()
        turn = say.random.random()
        if turn < 0.15:
            hypothesis = fact.negated()
            label = {"entailment": "contradiction", "contradiction": "entailment"}.get(label, label)
        elif turn < 0.22:
            hypothesis, label = say.near(fact, [fact]).active(), "neutral"
        if label == wanted:
            premise = f"{scene(say, speaker)} {text}"
            return {"premise": premise, "hypothesis": hypothesis, "label": label}


# RTE: does the text say so, perhaps in other words?


def rte(say: Speaker) -> Row:
    facts = say.facts(say.one((2, 3)))
    asked = say.one(facts)
    denied = say.chance(0.15)
    lines = [sentence(f.negated()) if denied and f is asked else told(say, f) for f in facts]
    if say.chance(0.5):
        label, other = "entailment", asked
    else:
        label, other = "not_entailment", say.near(asked, facts)
    if denied and label == "entailment":
        hypothesis = asked.negated()
    elif label == "not_entailment" and say.chance(0.3):
        hypothesis = sentence(asked.active() if denied else asked.negated())
    else:
        hypothesis = other.converse() if say.chance(0.5) else other.active()
    return {"premise": " ".join(lines), "hypothesis": sentence(hypothesis.rstrip(".")), "label": label}


# WiC: is the word used in the same sense?


def sensed(say: Speaker, word: str, sense: int) -> str:
    context = say.one(words.SENSES[word][sense])
    return say.own(lambda: f"{say.one(words.PEOPLE)} {context} {say.one(words.TIMES)}.", str)


def wic(say: Speaker) -> Row:
    word = say.one(list(words.SENSES))
    first = say.one((0, 1))
    same = say.chance(0.5)
    one = sensed(say, word, first)
    two = sensed(say, word, first if same else 1 - first)
    row: Row = {"word": word, "sentence1": one, "sentence2": two}
    for i, text in enumerate((one, two), start=1):
        row[f"start{i}"] = text.index(f" {word} ") + 1
        row[f"end{i}"] = row[f"start{i}"] + len(word)
    return {**row, "label": same}


# COPA: which of two is the cause, or the effect?


def copa(say: Speaker) -> Row:
    def draw() -> tuple[str, int]:
        return say.one(words.PEOPLE), say.random.randrange(len(words.CHAINS))

    def key(drawn: tuple[str, int]) -> str:
        return f"{drawn[0]} chain {drawn[1]}"

    person, chain = say.own(draw, key)
    question = say.one(("cause", "effect"))
    at = say.one((1, 2) if question == "cause" else (0, 1))
    step = -1 if question == "cause" else 1
    right = words.CHAINS[chain][at + step]
    if at == 1 and say.chance(0.5):
        wrong = words.CHAINS[chain][at - step]
    else:
        person_, other = say.own(lambda: (person, draw()[1]), key)
        while other == chain:
            person_, other = say.own(draw, key)
        wrong = say.one(words.CHAINS[other])
        if person_ != person:
            wrong = f"{person_} {wrong}"
    wrong = wrong if wrong[0].isupper() else f"{person} {wrong}"
    label = say.one((0, 1))
    choices = [f"{person} {right}.", f"{wrong}."]
    return {
        "premise": f"{person} {words.CHAINS[chain][at]}.",
        "choice1": choices[label],
        "choice2": choices[1 - label],
        "question": question,
        "label": label,
    }


# BoolQ: a passage and a question about it.


def boolq(say: Speaker) -> Row:
    """True, denied in the passage, or not mentioned; a denial as such says nothing about the answer."""
    facts = say.facts(say.one((3, 4)))
    asked, other = say.two(facts)
    kind = say.random.choices(("told", "denied", "unsaid"), (0.50, 0.13, 0.37))[0]
    denied = asked if kind == "denied" else other if say.chance({"told": 0.3, "unsaid": 0.07}[kind]) else None
    fact = say.near(asked, facts) if kind == "unsaid" else asked
    return {
        "question": fact.question(converse=say.chance(0.4)),
        "passage": " ".join(sentence(f.negated()) if f is denied else told(say, f) for f in facts),
        "label": kind == "told",
    }


# MultiRC: several answers to a question about a passage; any number of them is right.


def multirc(say: Speaker) -> Row:
    """A passage with two questions, each with three or four answers."""
    facts = say.facts(4)
    twin = say.one([f for f in facts if not f.taker] or facts)
    while twin.taker:
        facts = say.facts(4)
        twin = say.one([f for f in facts if not f.taker] or facts)
    again = say.own(lambda: Fact(twin.person, twin.verb, say.one(words.THINGS)), lambda fact: fact.key)
    if again.thing not in {f.thing for f in facts}:
        facts[say.one([i for i, f in enumerate(facts) if f is not twin])] = again
    text = "".join(f"<b>Sent {i}: </b>{told(say, f)}<br>" for i, f in enumerate(facts, start=1))
    asked = say.two(facts)
    return {"passage": {"text": text, "questions": [_question(say, f, facts) for f in asked]}}


def _question(say: Speaker, fact: Fact, facts: list[Fact]) -> Row:
    if say.chance(0.5):
        question = f"Who {_past(fact)} the {fact.thing}?"
        right = {f.person for f in facts if (f.verb, f.thing) == (fact.verb, fact.thing)}
        pool = {p for f in facts for p in (f.person, f.taker) if p} | {say.one(words.PEOPLE)}
    else:
        question = f"What was it that {fact.person} {_past(fact)}?"
        right = {f"the {f.thing}" for f in facts if (f.person, f.verb) == (fact.person, fact.verb)}
        pool = {f"the {f.thing}" for f in facts} | {f"the {say.one(words.THINGS)}"}
    wrong = sorted(pool - right)
    say.random.shuffle(wrong)
    answers = [(a, 1) for a in sorted(right)] + [
        (a, 0) for a in wrong[: say.one((2, 3)) if len(right) == 1 else 2]
    ]
    say.random.shuffle(answers)
    return {"question": question, "answers": [{"text": a, "label": label} for a, label in answers]}


def _past(fact: Fact) -> str:
    return words.TRANSFERS[fact.verb][0] if fact.taker else words.DEEDS[fact.verb]


# WSC: whom does the pronoun mean?


def bonded(say: Speaker) -> tuple[str, str, str, bool, str]:
    """A sentence with a pronoun; the first and the second person, and whether it means the first."""

    def draw() -> tuple[str, str, str, bool, str]:
        first, second, alike = say.pair()
        verb, mine, theirs = say.one(words.BONDS)
        means_first = say.chance(0.5)
        pronoun = "she" if (first if means_first else second) in words.WOMEN else "he"
        reason = mine if means_first else theirs
        if not alike and say.chance(0.5):
            reason = say.one(words.SCENES)
        return f"{first} {verb} {second} because {pronoun} {reason}.", first, second, means_first, pronoun

    return say.own(draw, lambda drawn: drawn[0])


def wsc(say: Speaker) -> Row:
    text, first, second, means_first, pronoun = bonded(say)
    offset = 0
    if say.chance(0.5):
        opening = scene(say, say.one([p for p in words.PEOPLE if p not in (first, second)]))
        text, offset = f"{opening} {text}", len(opening.split())
    span = say.one((first, second))
    return {
        "text": text,
        "target": {
            "span1_text": span,
            "span1_index": offset + (0 if span == first else 2),
            "span2_text": pronoun,
            "span2_index": offset + 4,
        },
        "label": (span == first) == means_first,
    }


# ReCoRD: fill the gap in a statement about a passage.


def record(say: Speaker) -> Row:
    facts = say.facts(say.one((3, 4)))
    asked = say.one(facts)
    lines = [told(say, f) for f in facts]
    highlight = scene(say, say.one([p for f in facts for p in (f.person, f.taker) if p]))
    text = " ".join(lines) + f"\n@highlight\n{highlight.rstrip('.')}"
    answer = asked.person if not asked.taker or say.chance(0.5) else asked.taker
    was_active = asked.active().lower() in text.lower()
    turned = was_active if say.chance(0.7) else not was_active
    statement = sentence(asked.converse() if turned else asked.active())
    people = {p for f in facts for p in (f.person, f.taker) if p} | {highlight.split()[0]}
    entities = [
        {"start": m.start(), "end": m.end() - 1}
        for m in re.finditer(r"\b(" + "|".join(sorted(people)) + r")\b", text)
    ]
    spans = [{**e, "text": answer} for e in entities if text[e["start"] : e["end"] + 1] == answer]
    query = re.sub(rf"\b{answer}\b", "@placeholder", statement)
    return {
        "source": "rankprobe miniature",
        "passage": {"text": text, "entities": entities},
        "qas": [{"query": query, "answers": spans}],
    }


WRITERS: dict[str, Callable[[Speaker], Row]] = {
    "boolq": boolq,
    "cb": cb,
    "copa": copa,
    "multirc": multirc,
    "record": record,
    "rte": rte,
    "wic": wic,
    "wsc": wsc,
}
