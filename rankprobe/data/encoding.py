"""From examples to token ids: each text is tokenised once; long texts are shortened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from jaxtyping import Int, Int32

from rankprobe.backbone import Backbone
from rankprobe.backbone.tokenizers import loses_characters
from rankprobe.errors import RankprobeError
from rankprobe.tasks import Example, Row, Split, Task

CHUNK = 1000
"""Texts per call of the tokenizer."""

TOLERANCE = 8
"""Largest expected error of an estimated length, in tokens. A text so close above the limit is tokenised."""

TokenArray = Int32[np.ndarray, "_"]
"""Token ids of one text, (T,)."""

Ids = Sequence[int] | TokenArray
Tokenize = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Encoded:
    """A tokenised split.

    Attributes:
        examples: the examples.
        rows: per example, the number of its row in the split.
        sources: source ids per example.
        targets: target ids per example.
        max_answer_length: tokens of the longest label or accepted answer, even if no example has it.
        shortened_rows: numbers of the rows that lost words of the long field.
        cut_rows: those of them that also lost the end of the remaining text.
        unknown_share: share of the split's rows with text that the tokenizer cannot represent.
    """

    examples: Sequence[Example]
    rows: Sequence[int]
    sources: Sequence[Ids]
    targets: Sequence[Ids]
    max_answer_length: int
    shortened_rows: Set[int] = frozenset()
    cut_rows: Set[int] = frozenset()
    unknown_share: float = 0.0

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def lengths(self) -> list[int]:
        """Source tokens per example."""
        return [len(source) for source in self.sources]

    @property
    def size(self) -> tuple[int, int]:
        """Tokens of the longest text and of the longest answer."""
        return max(self.lengths), self.max_answer_length


def encode(split: Split, backbone: Backbone, targets: str, max_length: int, *, training: bool) -> Encoded:
    """Tokenise a split.

    A source longer than `max_length` loses words of the task's long field. Its end is cut off only if it is
    still too long without any of these words.

    Args:
        split: the rows.
        backbone: whose tokenizer is used.
        targets: the label texts, as in `TaskConfig`.
        max_length: largest number of source tokens.
        training: encode `Task.training_examples` of each row instead of the row itself.

    Raises:
        RankprobeError: `training`, and no row has a training example.
    """
    task = split.task
    numbered = list(enumerate(split.examples))
    if training:
        numbered = [(row, each) for row, example in numbered for each in task.training_examples(example)]
    if not numbered:
        raise RankprobeError(f"{split.origin}: no row of {task.title} has a target to learn from")
    rows, examples = [row for row, _ in numbered], [example for _, example in numbered]
    sources, shortened_rows, cut_rows = source_ids(split, backbone, max_length)
    source_texts = (task.source(example.fields) for example in split.examples)
    target_texts = [task.target(example, targets) for example in examples]
    target_ids = token_ids(backbone.answer_ids, target_texts)
    accepted = [*task.answer_set(targets), *{text for example in examples for text in example.answers}]
    unknown_rows = {
        row
        for row, unknown in zip(
            [*range(len(sources)), *rows],
            _has_unknown(backbone, chain(source_texts, target_texts), [*sources, *target_ids]),
            strict=True,
        )
        if unknown
    }
    return Encoded(
        examples,
        rows,
        [sources[row] for row in rows],
        target_ids,
        max(map(len, token_ids(backbone.answer_ids, accepted))),
        shortened_rows,
        cut_rows,
        len(unknown_rows) / len(sources),
    )


def _has_unknown(backbone: Backbone, texts: Iterable[str], ids: Sequence[TokenArray]) -> Iterator[bool]:
    """Per text, whether the tokenizer cannot represent part of it: by an unknown token, or by no token."""
    dropped, unknown = loses_characters(backbone.tokenizer, texts), backbone.unknown_id
    return (lost or unknown in each for lost, each in zip(dropped, ids, strict=True))


def token_ids(tokenize: Tokenize, texts: Sequence[str]) -> list[TokenArray]:
    """Token ids of each text, as arrays: lists of Python ints for 100,000 texts would fill the memory."""
    chunks = (texts[i : i + CHUNK] for i in range(0, len(texts), CHUNK))
    return [np.array(ids, np.int32) for chunk in chunks for ids in tokenize(chunk)]


def source_ids(
    split: Split, backbone: Backbone, max_length: int
) -> tuple[list[TokenArray], set[int], set[int]]:
    """Token ids of each row's source, shortened to at most `max_length` tokens.

    The number of words to drop is estimated from the token counts of words, so most texts are tokenised only
    once. The tokenizer's offsets would give the number exactly, but each long text would be tokenised twice,
    which takes more than twice as long.

    Returns:
        Ids per row; `shortened_rows` and `cut_rows` as in `Encoded`.

    Raises:
        RankprobeError: the end of the chat template alone has `max_length` tokens.
    """
    tokenize = backbone.source_ids
    task, word_lengths = split.task, WordLengths(tokenize)
    sources: list[TokenArray] = []
    shortened_rows: set[int] = set()
    cut_rows: set[int] = set()
    for start in range(0, len(split.examples), CHUNK):
        chunk = [example.fields for example in split.examples[start : start + CHUNK]]
        texts = [task.source(fields) for fields in chunk]
        excess = word_lengths.of_texts(texts) - max_length
        for i in np.flatnonzero((excess > 0) & (excess <= TOLERANCE)).tolist():
            excess[i] = len(token_ids(tokenize, [texts[i]])[0]) - max_length
        shortened = {
            i: _shorten(chunk[i], task, word_lengths, int(excess[i]))
            for i in np.flatnonzero(excess > 0).tolist()
        }
        ids_per_row = token_ids(
            tokenize, [task.source({**fields, **shortened.get(i, {})}) for i, fields in enumerate(chunk)]
        )
        for i, ids in enumerate(ids_per_row):
            # The estimate was too low: drop one word at a time.
            while len(ids) > max_length and (words := shortened.get(i, chunk[i])[task.long_field].split()):
                words = words[1:] if task.truncation_side == "left" else words[:-1]
                shortened[i] = {task.long_field: " ".join(words)}
                (ids,) = token_ids(tokenize, [task.source({**chunk[i], **shortened[i]})])
            if len(ids) > max_length:
                ids = cut(ids, backbone, max_length)
                cut_rows.add(start + i)
            sources.append(ids)
        shortened_rows.update(start + i for i in shortened)
    return sources, shortened_rows, cut_rows


def cut(ids: Ids, backbone: Backbone, max_length: int) -> TokenArray:
    """Cut the ids of a source to `max_length`: text goes, from its end; the end of the chat template stays.

    Raises:
        RankprobeError: the end of the chat template alone has `max_length` tokens.
    """
    tokens, end = np.asarray(ids, np.int32), backbone.source_end
    if len(tokens) <= max_length:
        return tokens
    if max_length <= end and backbone.chat:
        raise RankprobeError(
            f"--max-source-length {max_length} leaves no token of a text; "
            f"the chat template ends with {end} tokens"
        )
    return np.concatenate([tokens[: max_length - end], tokens[-end:]])


def _shorten(fields: Row, task: Task, word_lengths: WordLengths, excess: int) -> dict[str, str]:
    """The long field without the fewest words that have `excess` tokens, from the task's truncation side."""
    words = fields[task.long_field].split()
    left = task.truncation_side == "left"
    dropped_tokens = np.cumsum([word_lengths[word] for word in (words if left else words[::-1])])
    count = min(int(np.searchsorted(dropped_tokens, excess)) + 1, len(words))
    return {task.long_field: " ".join(words[count:] if left else words[: len(words) - count])}


class WordLengths(dict[str, int]):
    """Tokens per word; each word is tokenised when it first occurs.

    A text has about as many tokens as its words, plus the special tokens. A word is measured behind another
    word, because byte-level tokens include the space before a word.
    """

    def __init__(self, tokenize: Tokenize) -> None:
        self.tokenize = tokenize
        self.n_special = len(tokenize([""])[0])
        self.prefix_length = len(tokenize(["a"])[0])

    def of_texts(self, texts: Sequence[str]) -> Int[np.ndarray, " texts"]:
        """Estimated tokens per text."""
        words_per_text = [text.split() for text in texts]
        new = sorted({word for words in words_per_text for word in words} - self.keys())
        measured = token_ids(self.tokenize, [f"a {word}" for word in new])
        self.update(zip(new, (len(ids) - self.prefix_length for ids in measured), strict=True))
        return np.array([sum(self[word] for word in words) + self.n_special for words in words_per_text])
