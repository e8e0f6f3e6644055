"""From examples to token batches: tokenised once, batched by length, padded for a cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankprobe.backbone import Backbone, TextBatch
from rankprobe.backbone.base import loses_characters
from rankprobe.backbone.score import IGNORED
from rankprobe.errors import RankprobeError
from rankprobe.tasks import Example, Row, Split, Task
from rankprobe.training.seeding import numpy_generator

CHUNK = 1000
"""Texts tokenised at a time."""

DOUBT = 8
"""Tokens by which a length summed over words may be wrong; that near the limit, the text is tokenised."""

LENGTH_JITTER = 0.1
"""Lengths are blurred by ±10 % before sorting, so that the same rows do not always meet."""


Ids = Sequence[int] | NDArray[np.int32]
Tokenize = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Encoded:
    """A tokenised split.

    Source and target ids per example; for each example the number of the row it comes from; the tokens of
    the longest label or answer, whether or not an example has it; how many examples lost words of the long
    field (`n_shortened`), and how many of these even the end of the rest (`n_cut`); the share of the split's
    rows with text that the tokenizer cannot represent (`unknown_share`).
    """

    examples: Sequence[Example]
    rows: Sequence[int]
    sources: Sequence[Ids]
    targets: Sequence[Ids]
    longest_label: int
    n_shortened: int
    n_cut: int = 0
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
        return max(self.lengths), self.longest_label


def encode(split: Split, backbone: Backbone, targets: str, max_length: int, *, lessons: bool) -> Encoded:
    """Tokenise a split: its examples, or with `lessons` what training makes of them; each has a target.

    A source longer than `max_length` loses words of the task's long field; its end is cut off only if it is
    too long without any of them.

    Raises:
        RankprobeError: a training split from which nothing can be learned.
    """
    task = split.task
    numbered = list(enumerate(split.examples))
    if lessons:
        numbered = [(row, lesson) for row, example in numbered for lesson in task.lessons(example)]
    if not numbered:
        raise RankprobeError(f"{split.origin}: no row of {task.title} has a target to learn from")
    rows, examples = [row for row, _ in numbered], [example for _, example in numbered]
    sources, n_shortened, n_cut = source_ids(split, backbone.source_ids, max_length)
    answers = [task.target(example, targets) for example in examples]
    taught = token_ids(backbone.answer_ids, answers)
    accepted = [*task.answer_set(targets), *{text for example in examples for text in example.answers}]
    longest = max(map(len, token_ids(backbone.answer_ids, accepted)))
    unknown = {i for i, ids in enumerate(sources) if (ids == backbone.unknown_id).any()}
    unknown |= {row for row, ids in zip(rows, taught, strict=True) if (ids == backbone.unknown_id).any()}
    read = (task.source(example.fields) for example in split.examples)
    unknown |= {row for row, lost in enumerate(loses_characters(backbone.tokenizer, read)) if lost}
    said = loses_characters(backbone.tokenizer, answers)
    unknown |= {row for row, lost in zip(rows, said, strict=True) if lost}
    share = len(unknown) / len(sources)
    return Encoded(examples, rows, [sources[row] for row in rows], taught, longest, n_shortened, n_cut, share)


def token_ids(tokenize: Tokenize, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    """Token ids of each text, in arrays: a list of a hundred thousand lists would fill the memory."""
    chunks = (texts[i : i + CHUNK] for i in range(0, len(texts), CHUNK))
    return [np.array(ids, np.int32) for chunk in chunks for ids in tokenize(chunk)]


def source_ids(split: Split, tokenize: Tokenize, max_length: int) -> tuple[list[NDArray[np.int32]], int, int]:
    """Source ids per row, how many rows lost words, and how many of these had to lose more than that.

    Most texts are tokenised once: how many words fit is known from the lengths of the words, to within a few
    tokens.
    """
    task, sizes = split.task, WordSizes(tokenize)
    sources: list[NDArray[np.int32]] = []
    n_shortened = n_cut = 0
    for start in range(0, len(split.examples), CHUNK):
        chunk = [example.fields for example in split.examples[start : start + CHUNK]]
        texts = [task.source(fields) for fields in chunk]
        excess = sizes.of(texts) - max_length
        for i in np.flatnonzero((excess > 0) & (excess <= DOUBT)).tolist():
            excess[i] = len(token_ids(tokenize, [texts[i]])[0]) - max_length
        kept = {
            i: _fitting(chunk[i], task, sizes, int(excess[i])) for i in np.flatnonzero(excess > 0).tolist()
        }
        ids = token_ids(
            tokenize, [task.source({**fields, **kept.get(i, {})}) for i, fields in enumerate(chunk)]
        )
        for i, each in enumerate(ids):
            while len(each) > max_length and (words := kept.get(i, chunk[i])[task.long_field].split()):
                words = words[1:] if task.keep == "end" else words[:-1]
                kept[i] = {task.long_field: " ".join(words)}
                (each,) = token_ids(tokenize, [task.source({**chunk[i], **kept[i]})])
            if len(each) > max_length:
                each, n_cut = np.concatenate([each[: max_length - 1], each[-1:]]), n_cut + 1
            sources.append(each)
        n_shortened += len(kept)
    return sources, n_shortened, n_cut


def _fitting(fields: Row, task: Task, sizes: WordSizes, excess: int) -> dict[str, str]:
    """The long field without the words that are `excess` tokens too many, from the end that is not kept."""
    words = fields[task.long_field].split()
    dropped = words if task.keep == "end" else words[::-1]
    lost = np.cumsum([sizes[word] for word in dropped])
    count = min(int(np.searchsorted(lost, excess)) + 1, len(words))
    return {task.long_field: " ".join(words[count:] if task.keep == "end" else words[: len(words) - count])}


class WordSizes(dict[str, int]):
    """Tokens per word, tokenised when first met. A text has as many as its words, and its special ones.

    A word is measured behind another one: byte-level pieces begin with the space.
    """

    def __init__(self, tokenize: Tokenize) -> None:
        self.tokenize = tokenize
        self.overhead = len(tokenize([""])[0])
        self.first = len(tokenize(["a"])[0])

    def of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text, but for what its first word differs from one within."""
        split = [text.split() for text in texts]
        new = sorted({word for words in split for word in words} - self.keys())
        measured = token_ids(self.tokenize, [f"a {word}" for word in new])
        self.update(zip(new, (len(ids) - self.first for ids in measured), strict=True))
        return np.array([sum(self[word] for word in words) + self.overhead for words in split])


def epoch_batches(
    lengths: Sequence[int], batch_size: int, batching: str, seed: int, epoch: int
) -> list[list[int]]:
    """The row numbers of each batch of one epoch; every row occurs once.

    `length` sorts by blurred length, cuts into batches, and shuffles their order; `random` shuffles rows.
    Where the rows do not fill all batches, the short batch is cut at a random place: the mean over its few
    rows counts as much as that over a full batch, and they must not be the longest rows in every epoch.
    """
    rng = numpy_generator(seed, "order", epoch)
    if batching == "random":
        order = rng.permutation(len(lengths))
    else:
        blur = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(lengths))
        order = np.argsort(np.asarray(lengths) * blur, kind="stable")
    count = -(-len(order) // batch_size)
    sizes = np.full(count, batch_size)
    sizes[rng.integers(count)] -= count * batch_size - len(order)
    batches = np.split(order, np.cumsum(sizes)[:-1])
    return [batches[i].tolist() for i in rng.permutation(count)]


def collate(
    data: Encoded,
    members: Sequence[Sequence[int]],
    pad_id: int,
    device: torch.device,
    taught: Sequence[Sequence[int]] | None = None,
) -> TextBatch:
    """One batch of K members' rows, member after member, padded on the right to the longest.

    `taught`: for each row, the row whose target it has; unset: its own.
    """
    taught = members if taught is None else taught
    rows = [row for member in members for row in member]
    sources = [data.sources[row] for row in rows]
    return TextBatch(
        rows=[len(member) for member in members],
        source_lengths=[max(len(data.sources[row]) for row in member) for member in members],
        target_lengths=[max(len(data.targets[row]) for row in member) for member in taught],
        input_ids=_padded(sources, pad_id).to(device),
        attention_mask=_padded([[1] * len(ids) for ids in sources], 0).to(device),
        labels=_padded([data.targets[row] for member in taught for row in member], IGNORED).to(device),
    )


def _padded(rows: Sequence[Ids], fill: int) -> Tensor:
    table = torch.full((len(rows), max(map(len, rows))), fill, dtype=torch.long)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.as_tensor(row)
    return table
