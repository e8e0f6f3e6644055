"""Rows become batches without loss, and truncation never cuts the hypothesis."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from rankprobe.backbone import Backbone
from rankprobe.data.batching import collate, epoch_batches
from rankprobe.data.batching import epoch_batches as batches_of_an_epoch
from rankprobe.data.encoding import Encoded, encode
from rankprobe.data.seeding import torch_generator
from rankprobe.errors import RankprobeError
from rankprobe.tasks import TASKS, load_split
from rankprobe.tasks.base import Example
from rankprobe.tasks.cb import CB
from rankprobe.tasks.sources import Split


@pytest.mark.parametrize("order", ["shared", "own"])
@pytest.mark.parametrize("batching", ["length", "random"])
def test_every_row_occurs_once_an_epoch(batching, order):
    lengths = [(7 * i) % 50 + 5 for i in range(103)]
    epoch_batches = partial(batches_of_an_epoch, order=order)
    batches = epoch_batches(lengths, 16, batching, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(103))
    assert sorted(map(len, batches)) == [7] + 6 * [16]
    assert batches == epoch_batches(lengths, 16, batching, seed=1, epoch=0)
    assert batches != epoch_batches(lengths, 16, batching, seed=1, epoch=1)
    assert batches != epoch_batches(lengths, 16, batching, seed=2, epoch=0)


def test_batches_by_length_pad_less():
    lengths = [(37 * i) % 90 + 5 for i in range(160)]

    def padded(batching):
        return sum(
            len(batch) * max(lengths[row] for row in batch)
            for batch in epoch_batches(lengths, 16, batching, seed=1, epoch=0)
        )

    assert padded("length") < 1.15 * sum(lengths) < padded("random")


def padding_of_a_cohort(order: str, seeds: int = 8, epochs: int = 20) -> float:
    """Positions of the padded batches of a cohort over its real tokens."""
    lengths = np.random.default_rng(0).lognormal(3, 0.5, 250).astype(int).tolist()
    padded = 0
    for epoch in range(epochs):
        members = [epoch_batches(lengths, 16, "length", seed, epoch, order) for seed in range(seeds)]
        for batches in zip(*members, strict=True):
            longest = max(lengths[row] for rows in batches for row in rows)
            padded += longest * sum(map(len, batches))
    return padded / (epochs * seeds * sum(lengths))


def test_members_of_a_cohort_meet_batches_of_like_length():
    shared, own = padding_of_a_cohort("shared"), padding_of_a_cohort("own")
    assert shared < 1.3
    assert shared - 1 < 0.4 * (own - 1)
    first, second = (epoch_batches(list(range(160)), 16, "length", seed, 0) for seed in (1, 2))
    assert first != second
    assert [np.mean(batch) for batch in first] == pytest.approx([np.mean(batch) for batch in second], abs=8)


def test_rows_meet_others_in_the_next_epoch():
    lengths = [20 + i % 10 for i in range(64)]
    first, second = ({frozenset(b) for b in epoch_batches(lengths, 8, "length", 1, e)} for e in (0, 1))
    assert not first & second


def test_any_rows_may_be_those_of_the_short_batch():
    lengths = list(range(10, 110))
    short = [
        [lengths[row] for row in batch]
        for epoch in range(300)
        for batch in epoch_batches(lengths, 16, "length", 1, epoch)
        if len(batch) == 4
    ]
    assert len(short) == 300
    # Seven batches: the longest rows are in the short one in about a seventh of the epochs.
    assert 25 <= sum(max(batch) > 105 for batch in short) <= 65
    assert 25 <= sum(min(batch) < 14 for batch in short) <= 65


def test_encoding(backbone):
    split = load_split(CB, "train", "bundled")
    data = encode(split, backbone, "digits", 256, training=False)
    eos = backbone.tokenizer.eos_token_id
    assert len(data) == 250
    assert not data.shortened_rows
    assert all(ids[-1] == eos for ids in [*data.sources, *data.targets])
    text = backbone.tokenizer.decode(data.sources[0], skip_special_tokens=True)
    assert text.strip() == CB.source(split.examples[0].fields)


def test_the_longest_label_counts_even_if_no_example_has_it(backbone):
    task = dataclasses.replace(CB, labels=("yes", "a contradiction of the premise", "no"))
    split = Split(task, "train", "folder", "x", [Example({"premise": "p", "hypothesis": "h"}, 0)])
    data = encode(split, backbone, "words", 256, training=False)
    assert data.max_answer_length == len(backbone.tokenizer(task.labels[1]).input_ids) > len(data.targets[0])


def test_wsc_trains_on_what_can_be_learned_and_is_scored_on_all(backbone):
    task = TASKS["wsc"]
    train, validation = (load_split(task, split, "bundled") for split in ("train", "validation"))
    lessons = encode(train, backbone, "digits", 256, training=True)
    assert len(lessons) == sum(example.label for example in train.examples) < len(train.examples)
    assert len(encode(validation, backbone, "digits", 256, training=False)) == len(validation.examples)
    names = [backbone.tokenizer.decode(ids, skip_special_tokens=True) for ids in lessons.targets]
    assert names == [example.answers[0] for example in lessons.examples]
    only_false = dataclasses.replace(train, examples=[e for e in train.examples if not e.label])
    with pytest.raises(RankprobeError, match=r"no row of WSC has a target to learn from"):
        encode(only_false, backbone, "digits", 256, training=True)


def test_long_rows_lose_the_start_of_the_premise_only(backbone):
    fields = {"premise": " ".join(f"word{i}" for i in range(60)), "hypothesis": "the kettle was sold"}
    split = Split(CB, "train", "folder", "x", [Example(fields, 0)])
    (whole,) = encode(split, backbone, "digits", 10_000, training=False).sources
    data = encode(split, backbone, "digits", 64, training=False)
    text = backbone.tokenizer.decode(data.sources[0], skip_special_tokens=True).strip()
    assert len(data.shortened_rows) == 1
    assert len(whole) > 64 >= len(data.sources[0]) > 56
    assert text.startswith("premise: word")
    assert text.endswith("word59 hypothesis: the kettle was sold")
    tight = encode(split, backbone, "digits", 12, training=False).sources[0]
    assert len(tight) <= 12
    assert tight[-1] == backbone.tokenizer.eos_token_id


def test_collating_members():
    data = Encoded([], [], [[5, 6, 1], [7, 1], [8, 9, 9, 1]], [[3, 1], [4, 1], [3, 4, 1]], 3)
    batch = collate(data, [[0, 1], [2]], pad_id=0, device=torch.device("cpu"))
    assert batch.input_ids.tolist() == [[5, 6, 1, 0], [7, 1, 0, 0], [8, 9, 9, 1]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.labels.tolist() == [[3, 1, -100], [4, 1, -100], [3, 4, 1]]
    assert (batch.rows, batch.source_lengths, batch.target_lengths) == ([2, 1], [3, 4], [2, 3])


def test_streams_are_separate_and_repeatable():
    def draw(*key):
        return torch.rand(3, generator=torch_generator(*key)).tolist()

    assert draw(1, "init") == draw(1, "init")
    keys = [(1, "init"), (2, "init"), (1, "dropout"), (1, "init", 1), (2**40, "init")]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_byte_level_words_are_measured_as_they_stand(backbone):
    """Their pieces begin with the space, so a word alone has more of them than within a text."""
    from tokenizers import ByteLevelBPETokenizer

    split = load_split(CB, "train", "bundled")
    texts = [CB.source(e.fields) for e in split.examples]
    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(texts, vocab_size=400)

    class ByteLevel(Backbone):
        def source_ids(self, texts):
            return [each.ids for each in pieces.encode_batch(list(texts))]

    byte_level = ByteLevel(backbone.name, backbone.source, backbone.model, backbone.tokenizer)
    lengths = [len(ids) for ids in byte_level.source_ids(texts)]
    whole = encode(split, byte_level, "digits", max(lengths), training=False)
    assert (len(whole.shortened_rows), whole.lengths) == (0, lengths)
    limit = sorted(lengths)[len(lengths) // 2]
    cut = encode(split, byte_level, "digits", limit, training=False)
    assert cut.shortened_rows == {row for row, length in enumerate(lengths) if length > limit}
    assert max(cut.lengths) <= limit
    assert np.mean([limit - n for n, full in zip(cut.lengths, lengths, strict=True) if full > limit]) < 4
