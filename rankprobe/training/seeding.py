"""Randomness as a function of (seed, stream, step): nothing to save, nothing that one use can shift.

A run draws its initial factors, batch orders, dropout masks and twin's noise from separate streams, each
numbered by epoch or step. So a resumed run needs no generator state, an evaluation or a hook cannot change
what follows, and a member of a cohort draws what it would draw alone.
"""

from __future__ import annotations

import numpy as np
import torch

STREAMS = {"init": 0, "order": 1, "dropout": 2, "twin": 3, "shots": 4, "control": 5}


def _sequence(seed: int, stream: str, index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, STREAMS[stream], index])


def torch_generator(
    seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator for one use of one stream."""
    state = _sequence(seed, stream, index).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def numpy_generator(seed: int, stream: str, index: int = 0) -> np.random.Generator:
    """A numpy generator for one use of one stream."""
    return np.random.default_rng(_sequence(seed, stream, index))
