"""A member's dropout masks do not depend on its neighbours."""

from __future__ import annotations

import torch
from torch.nn import functional

from rankprobe.backbone import MemberDropout


def streams(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_masks_are_those_a_member_draws_alone():
    x = torch.ones(5, 7, 3)
    with MemberDropout(streams(1, 2), [2, 3], {7: [7, 4]}):
        both = functional.dropout(x, 0.5)
    with MemberDropout(streams(2), [3], {4: [4]}):
        alone = functional.dropout(x[2:, :4], 0.5)
    assert torch.equal(both[2:, :4], alone)
    assert torch.equal(both[2:, 4:], torch.ones(3, 3, 3))
    assert set(both[:2].flatten().tolist()) == {0.0, 2.0}


def test_attention_weights_shrink_in_both_sequence_axes():
    x = torch.ones(3, 2, 6, 8)
    lengths = {6: [6, 5], 8: [8, 3]}
    with MemberDropout(streams(1, 2), [1, 2], lengths):
        both = functional.dropout(x, 0.25)
    with MemberDropout(streams(2), [2], {5: [5], 3: [3]}):
        alone = functional.dropout(x[1:, :, :5, :3], 0.25)
    assert torch.equal(both[1:, :, :5, :3], alone)


def test_rate_and_mean_are_those_of_dropout():
    x = torch.ones(400, 50, 10)
    with MemberDropout(streams(3), [400], {}):
        y = torch.nn.Dropout(0.1)(x)
    assert abs((y == 0).float().mean() - 0.1) < 0.005
    assert abs(y.mean() - 1) < 0.005


def test_evaluation_is_untouched():
    x = torch.ones(2, 3, 4)
    with MemberDropout(streams(1), [2], {}):
        assert torch.nn.Dropout(0.5).eval()(x) is x
