"""How many runs one pass has room for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rankprobe.backbone import Soft, is_fetched, losses
from rankprobe.errors import RunFailed
from rankprobe.training.batching import collate
from rankprobe.training.member import Member
from rankprobe.training.session import Session

Result = TypeVar("Result")

SHARE = 0.6
"""Of the free memory that activations may take; the rest is for gradients on the way and for evaluation."""


class Room:
    """How many members pass through the backbone at once: all, and half as many each time memory runs out.

    What a member gets depends on its own rows only, so halving changes results by the order of floating-point
    sums.
    """

    def __init__(self, session: Session, members: int) -> None:
        self.session = session
        self.at_once = members

    def each(self, members: Sequence[Member], work: Callable[[Sequence[Member]], Result]) -> list[Result]:
        """Do a piece of work for all members, as many at once as there is room for.

        Returns:
            What it gave, part by part.

        Raises:
            RunFailed: there is no room for one of them; it says which batch size would fit.
        """
        while True:
            try:
                parts = range(0, len(members), self.at_once)
                return [work(members[first : first + self.at_once]) for first in parts]
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0] if str(error) else "MemoryError"
            # Only here, out of the handler, are the tensors of the failed pass free.
            self._clear(members)
            self._halve(members, reason)

    def _clear(self, members: Sequence[Member]) -> None:
        for member in members:
            member.learner.optimizer.zero_grad()
        if self.session.backbone.device.type == "cuda":
            torch.cuda.empty_cache()

    def _halve(self, members: Sequence[Member], reason: str) -> None:
        now = min(self.at_once, len(members))
        if now == 1:
            fit = rows_that_fit(self.session, members[0].config.method.prompt_length)
            raise RunFailed(
                f"run '{members[0].run.id}' is out of memory ({reason}); there is room for about "
                f"--batch-size {fit}, or give --gradient-checkpointing, or a smaller --max-source-length"
            )
        self.at_once = -(-now // 2)
        warnings.warn(
            f"out of memory with {now} runs in one pass; going on with {self.at_once} at once", stacklevel=2
        )


def is_out_of_memory(error: Exception) -> bool:
    """Of Python, of the CPU's allocator, which has no class of its own, or of a GPU's."""
    known = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, known) or "can't allocate memory" in str(error)


def rows_that_fit(session: Session, n: int) -> int:
    """How many of the longest training rows one member's batch may have."""
    return max(1, int(SHARE * free_bytes(session.backbone.device) / activation_bytes(session, n, 1)))


def members_that_fit(session: Session, n: int, batch_size: int) -> int:
    """How many members a cohort may have so that the activations of its largest batch fit into free memory.

    One member's batch of the longest texts is passed forward, and what autograd keeps of it is counted.

    Args:
        session: of any of the members.
        n: prompt length.
        batch_size: rows per member.
    """
    return max(1, int(SHARE * free_bytes(session.backbone.device) / activation_bytes(session, n, batch_size)))


def activation_bytes(session: Session, n: int, batch_size: int) -> int:
    """Bytes that autograd keeps for one member's batch of the longest training texts."""
    backbone, data = session.backbone, session.train
    longest = sorted(range(len(data)), key=lambda row: data.lengths[row])[-batch_size:]
    batch = collate(data, [longest], backbone.tokenizer.pad_token_id, backbone.device)
    weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.model.parameters()}
    kept: dict[int, int] = {}
    # Held, so that no storage is freed and its place taken by another before all are counted.
    held: list[Tensor] = []

    def count(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and not is_fetched(backbone.model, tensor):
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)

    P = torch.zeros(n, backbone.d_model, device=backbone.device, requires_grad=True)
    with saved_tensors_hooks(count, lambda tensor: tensor):
        losses(backbone, [Soft(P)], batch)
    return sum(kept.values())


def free_bytes(device: torch.device) -> int:
    """Memory that can be had now: of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
