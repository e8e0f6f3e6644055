"""Ranking answers by likelihood equals scoring each answer on its own."""

from __future__ import annotations

import torch
from torch.nn import functional

from rankprobe.backbone import PromptInput, TextBatch, label_logits, likeliest
from rankprobe.backbone.score import IGNORED

CANDIDATES = [
    [[40, 1], [41, 1], [42, 43, 1]],
    [[50, 51, 52, 1], [53, 1]],
    [[60, 1], [61, 62, 1], [63, 1]],
    [[70, 1]],
]


def batch_of(labels):
    """Two members with two rows each."""
    ids = torch.tensor([[5, 6, 7, 1], [8, 9, 1, 0], [10, 1, 0, 0], [11, 12, 13, 1]])
    return TextBatch([2, 2], [4, 4], [4, 4], ids, ids.ne(0).long(), labels)


def log_likelihood(backbone, prompts, row, answer):
    labels = torch.full((4, 5), IGNORED)
    labels[row, : len(answer)] = torch.tensor(answer)
    logits = label_logits(backbone, prompts, batch_of(labels))[row, : len(answer)]
    return -functional.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()


def test_the_likeliest_is_found_row_by_row(backbone64):
    generator = torch.Generator().manual_seed(0)
    chosen = set()
    for _ in range(4):
        prompts = [
            PromptInput(3 * torch.randn(3, 128, generator=generator, dtype=torch.float64)) for _ in range(2)
        ]
        found = likeliest(backbone64, prompts, batch_of(torch.zeros(4, 1, dtype=torch.long)), CANDIDATES)
        for row, (number, candidates) in enumerate(zip(found, CANDIDATES, strict=True)):
            scores = [log_likelihood(backbone64, prompts, row, answer) for answer in candidates]
            assert number == max(range(len(scores)), key=scores.__getitem__)
            chosen.add(number)
    assert len(chosen) > 1  # it does not always say the same
