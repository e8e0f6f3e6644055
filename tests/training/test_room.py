"""How many runs fit into one pass."""

from __future__ import annotations

import pytest
import torch
from conftest import quick

from rankprobe.sweeps import pack
from rankprobe.training import room
from rankprobe.training.session import open_session


@pytest.fixture(scope="module")
def session():
    return open_session([quick()])


def test_activations_grow_with_rows_and_tokens(session):
    few, more = (room.activation_bytes(session, 8, rows) for rows in (4, 8))
    assert 1.8 < more / few < 2.2
    assert room.activation_bytes(session, 80, 8) > 1.5 * more
    # At the least, the input of each of two layers is kept, for 8 rows of 8 prompt tokens.
    assert more > 2 * 8 * 8 * session.backbone.d_model * 4


def test_members_fill_the_share_of_free_memory(session, monkeypatch):
    one = room.activation_bytes(session, 8, 4)
    monkeypatch.setattr(room, "free_bytes", lambda device: 10 * one)
    assert room.members_that_fit(session, 8, 4) == int(10 * room.SHARE)
    monkeypatch.setattr(room, "free_bytes", lambda device: one)
    assert room.members_that_fit(session, 8, 4) == 1


def test_free_memory_is_that_of_the_machine():
    assert 10**8 < room.free_bytes(torch.device("cpu")) < 10**14


def test_cohorts_are_cut_to_size():
    configs = [quick(seed=seed) for seed in range(5)]
    assert [len(each) for each in pack(configs, most=2)] == [2, 2, 1]
    assert [len(each) for each in pack(configs)] == [5]
