"""Counting the bytes of tensors."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from rankprobe.training.peak_memory import PeakMemory

MIB = 2**20


def test_what_lives_at_one_time_is_counted_and_views_are_not():
    before = torch.zeros(MIB // 4)
    with PeakMemory() as memory:
        one = torch.zeros(MIB // 4)
        before.view(2, -1).t(), one[1:], one.add_(1)
        del one
        other = torch.zeros(MIB // 2)
        part = other[:1]  # holds all of it
        del other
        torch.zeros(MIB // 4)
        assert len(part) == 1
    assert memory.peak == 3 * MIB


def test_the_backward_pass_is_counted():
    x = torch.ones(MIB // 4, requires_grad=True)
    with PeakMemory() as memory:
        y = x.exp()
        assert memory.peak == MIB
        torch.autograd.grad(y, x, torch.ones_like(y))
    assert memory.peak == 3 * MIB  # y, its gradient, and that of x


def test_checkpointing_is_counted_as_it_is():
    def block(x):
        return x.exp().exp().exp().exp()

    peaks = []
    for recompute in (False, True):
        x = torch.zeros(MIB // 4, requires_grad=True)
        with PeakMemory() as memory:
            y = x
            for _ in range(4):
                y = checkpoint(block, y, use_reentrant=False) if recompute else block(y)
            y.sum().backward()
        peaks.append(memory.peak / MIB)
    assert peaks[0] > 16
    assert peaks[1] < 12


def test_tensors_without_values_and_those_left_out_take_nothing():
    with PeakMemory(left_out=lambda tensor: tensor.dtype == torch.float64) as memory:
        kept = torch.zeros(MIB, device="meta"), torch.zeros(MIB, dtype=torch.float64)
    assert len(kept) == 2
    assert memory.peak == 0
