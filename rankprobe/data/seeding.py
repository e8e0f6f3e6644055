"""Random numbers as a function of (seed, stream, step), so that no generator state has to be saved.

A run draws its initial parameters, batch orders, dropout masks and the noise of its twins from separate
streams, each indexed by epoch or step. So a resumed run needs no generator state, an evaluation or a hook
cannot change later draws, and a member of a cohort draws what it would draw alone.
"""

from __future__ import annotations

import numpy as np
import torch

STREAMS = {
    "init": 0,
    "order": 1,
    "dropout": 2,
    "gaussian": 3,
    "shots": 4,
    "control": 5,
    "shared order": 6,
    "haar": 7,
    "flip-example": 8,
    "flip-block": 9,
}


def _sequence(seed: int, stream: str, index: int, draw: int = 1) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, STREAMS[stream], index, *([draw] if draw > 1 else [])])


def torch_generator(
    seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator for one stream at one index (epoch or step)."""
    state = _sequence(seed, stream, index).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def numpy_generator(seed: int, stream: str, index: int = 0, draw: int = 1) -> np.random.Generator:
    """A numpy generator for one stream at one index (epoch or step); draws from 2 on are further streams."""
    return np.random.default_rng(_sequence(seed, stream, index, draw))
