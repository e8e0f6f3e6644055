"""What a tokenizer cannot represent."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any


def unknown_id(tokenizer: Any) -> int:
    """See `Backbone.unknown_id`."""
    unknown = tokenizer.unk_token_id
    return -1 if unknown is None or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id) else unknown


def loses_characters(tokenizer: Any, texts: Iterable[str]) -> Iterator[bool]:
    """For each text, whether the tokenizer drops a letter, number or sign without an unknown token.

    Byte-pair tokenizers drop unknown characters if they have neither all bytes nor an unknown token.
    """
    known, lost = set[str](), set[str]()
    for text in texts:
        characters = set(text)
        if new := characters - known:
            lost |= _dropped(tokenizer, new)
            known |= new
        yield not lost.isdisjoint(characters)


def _dropped(tokenizer: Any, characters: Iterable[str]) -> set[str]:
    """The characters without a token; blanks, marks and controls are not counted."""
    seen = sorted(each for each in characters if unicodedata.category(each)[0] in "LNPS")
    if not seen:
        return set()
    special, pieces = set(tokenizer.all_special_ids), tokenizer(seen, add_special_tokens=False).input_ids
    return {
        each
        for each, ids in zip(seen, pieces, strict=True)
        if special.isdisjoint(ids) and not tokenizer.decode(ids).strip()
    }
