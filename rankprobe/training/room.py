"""How many runs one pass has room for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from rankprobe.backbone import Soft, fetching_again, is_fetched, losses
from rankprobe.errors import RunFailed
from rankprobe.training.batching import collate
from rankprobe.training.free_memory import free_bytes
from rankprobe.training.member import Member
from rankprobe.training.mode import training_mode
from rankprobe.training.peak_memory import PeakMemory
from rankprobe.training.session import Session

Result = TypeVar("Result")

SHARE = 0.6
"""Of the free memory that training passes may take; the rest is for fragmentation and for evaluation."""

NAMES = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`|\S*[/\\]\S*")
"""What a message quotes, and paths: words in them say nothing about the error."""

WORDS = re.compile(
    r"\bout of memory\b(?!\.\w)"  # torch on any GPU, and the errors of CUDA, HIP, XPU and MPS
    r"|\b(can't|cannot|could not|unable to|failed to) allocate memory\b|\bnot enough memory\b"  # on the CPU
    r"|\bstd::bad_alloc\b|\bbad allocation\b"  # C++
    r"|\binvalid buffer size\b",  # Metal: one tensor beyond its limit
    re.IGNORECASE,
)
"""How the text of a RuntimeError says that memory could not be allocated."""

CODES = re.compile(
    r"(_ALLOC_FAILED|_ALLOCATION_FAILED"  # cuBLAS, cuDNN, cuSOLVER, cuFFT, hipBLAS
    r"|cudaErrorMemoryAllocation|hipErrorOutOfMemory|_OUT_OF_(HOST_|DEVICE_)?MEMORY"  # drivers
    r"|rocblas_status_memory_error|miopenStatusAllocFailed)\b(?!\.\w)"
)
"""The same as error codes of libraries."""


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
        release_cached(self.session.backbone.device)

    def _halve(self, members: Sequence[Member], reason: str) -> None:
        now = min(self.at_once, len(members))
        if now == 1:
            raise RunFailed(
                f"run '{members[0].run.id}' is out of memory ({reason}); {self._advice(members[0])}"
            )
        self.at_once = -(-now // 2)
        warnings.warn(
            f"out of memory with {now} runs in one pass; going on with {self.at_once} at once", stacklevel=2
        )

    def _advice(self, member: Member) -> str:
        """What takes less memory: a batch that fits, if there is a smaller one, and other settings."""
        config = member.config
        fit = min(rows_that_fit(self.session, config.method.prompt_length), config.training.batch_size - 1)
        rows = (
            f"there is room for about --batch-size {fit}" if fit else "there is no room for a smaller batch"
        )
        recompute = "" if config.backbone.gradient_checkpointing else "--gradient-checkpointing, or "
        return f"{rows}{', or' if fit else ';'} give {recompute}a smaller --max-source-length"


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch, or a library below torch could not allocate memory.

    Only some of them have a class of their own for that; the others raise a RuntimeError, known by its text.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = " ".join(map(str, error.args))
    return isinstance(error, RuntimeError) and bool(WORDS.search(NAMES.sub(" ", text)) or CODES.search(text))


def rows_that_fit(session: Session, n: int) -> int:
    """How many of the longest training rows one member's batch may have; 0 if there is no memory for one."""
    return _that_fit(session, n, 1)


def members_that_fit(session: Session, n: int, batch_size: int) -> int:
    """How many members a cohort may have so that its largest batch fits into free memory; 1 at least.

    One member's batch of the longest texts is passed forward and backward, and its memory is counted.

    Args:
        session: of any of the members.
        n: prompt length.
        batch_size: rows per member.
    """
    return max(1, _that_fit(session, n, batch_size))


def _that_fit(session: Session, n: int, batch_size: int) -> int:
    """How many batches of so many rows fit into the share of free memory; 0 if one of them does not."""
    free = free_bytes(session.backbone.device)
    try:
        return int(SHARE * free / activation_bytes(session, n, batch_size))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    release_cached(session.backbone.device)
    return 0


def activation_bytes(session: Session, n: int, batch_size: int) -> int:
    """The most bytes that a training pass of one member's longest texts takes at one time, besides weights.

    The pass is that of training, forward and backward, with dropout or gradient checkpointing where the
    config asks for it. No gradient is left on any parameter.
    """
    backbone, data = session.backbone, session.train
    longest = sorted(range(len(data)), key=lambda row: data.lengths[row])[-batch_size:]
    batch = collate(data, [longest], backbone.tokenizer.pad_token_id, backbone.device)
    P = torch.zeros(n, backbone.d_model, device=backbone.device, requires_grad=True)
    trained = [parameter for parameter in backbone.model.parameters() if parameter.requires_grad]
    generators = [torch.Generator(backbone.device)]
    with (
        PeakMemory(left_out=partial(is_fetched, backbone.model)) as memory,
        training_mode(session, n, batch, generators),
        fetching_again(backbone.model),
    ):
        (loss,) = losses(backbone, [Soft(P)], batch)
        torch.autograd.grad(loss, [P, *trained], allow_unused=True)
    return memory.peak


def release_cached(device: torch.device) -> None:
    """Let torch give the memory of a GPU that it keeps for later tensors back to the driver."""
    release = getattr(torch.get_device_module(device), "empty_cache", None)
    if release is not None:
        release()
