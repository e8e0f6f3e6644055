"""How many members fit into one pass through the backbone, measured and by halving."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from rankprobe.backbone import Flip, PromptInput, is_fetched, losses, refetch_weights
from rankprobe.backbone.training_mode import training_mode
from rankprobe.data.batching import collate
from rankprobe.errors import RunFailed, first_line
from rankprobe.logger import log
from rankprobe.training.free_memory import free_bytes
from rankprobe.training.peak_memory import PeakMemory
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session
from rankprobe.twins import parse_twins

Result = TypeVar("Result")

SHARE = 0.6
"""Share of the free memory for training passes; the rest is for fragmentation and evaluation."""

NAMES = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`|\S*[/\\]\S*")
"""Quoted text and paths in a message: words in them say nothing about the error."""

WORDS = re.compile(
    r"\bout of memory\b(?!\.\w)"  # torch on any GPU, and the errors of CUDA, HIP, XPU and MPS
    r"|\b(can't|cannot|could not|unable to|failed to) allocate memory\b|\bnot enough memory\b"  # on the CPU
    r"|\bstd::bad_alloc\b|\bbad allocation\b"  # C++
    r"|\binvalid buffer size\b",  # Metal: one tensor beyond its limit
    re.IGNORECASE,
)
"""Texts of a RuntimeError for a failed allocation."""

CODES = re.compile(
    r"(_ALLOC_FAILED|_ALLOCATION_FAILED"  # cuBLAS, cuDNN, cuSOLVER, cuFFT, hipBLAS
    r"|cudaErrorMemoryAllocation|hipErrorOutOfMemory|_OUT_OF_(HOST_|DEVICE_)?MEMORY"  # drivers
    r"|rocblas_status_memory_error|miopenStatusAllocFailed)\b(?!\.\w)"
)
"""Error codes of libraries for a failed allocation."""


class MicroBatcher:
    """Passes all members through the backbone at once, and half as many each time memory runs out.

    The result of a member depends on its own rows only, so halving changes it only by the order of
    floating-point sums.
    """

    def __init__(self, session: Session, members: int) -> None:
        self.session = session
        self.members_per_pass = members

    def map(self, members: Sequence[RunState], work: Callable[[Sequence[RunState]], Result]) -> list[Result]:
        """Call `work` on all members, `members_per_pass` at a time.

        Returns:
            The result of each call.

        Raises:
            RunFailed: memory runs out with one member; the message says which batch size would fit.
        """
        while True:
            try:
                parts = range(0, len(members), self.members_per_pass)
                return [work(members[first : first + self.members_per_pass]) for first in parts]
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            # The tensors of the failed pass are freed only after the handler.
            self._clear(members)
            self._halve(members, reason)

    def _clear(self, members: Sequence[RunState]) -> None:
        for member in members:
            member.optimization.optimizer.zero_grad()
        release_cached(self.session.backbone.device)

    def _halve(self, members: Sequence[RunState], reason: str) -> None:
        now = min(self.members_per_pass, len(members))
        if now == 1:
            raise RunFailed(
                f"run '{members[0].run.id}' is out of memory ({reason}); {self._advice(members[0])}"
            )
        self.members_per_pass = -(-now // 2)
        warnings.warn(
            f"out of memory with {now} runs in one pass; going on with {self.members_per_pass} at once",
            stacklevel=2,
        )

    def _advice(self, member: RunState) -> str:
        """Settings that take less memory: a batch size that fits, gradient checkpointing, shorter texts."""
        config = member.config
        fit = min(rows_that_fit(self.session, config.method.prompt_length), config.batch_size - 1)
        rows = (
            f"there is room for about --batch-size {fit}" if fit else "there is no room for a smaller batch"
        )
        recompute = "" if config.gradient_checkpointing else "--gradient-checkpointing, or "
        return f"{rows}{', or' if fit else ';'} give {recompute}a smaller --max-source-length"


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch, or a library below torch could not allocate memory.

    Some raise an exception class for that; others raise a RuntimeError that only its text identifies.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = " ".join(map(str, error.args))
    return isinstance(error, RuntimeError) and bool(WORDS.search(NAMES.sub(" ", text)) or CODES.search(text))


def rows_that_fit(session: Session, n: int) -> int:
    """The largest batch size of one member that fits, with the longest rows; 0 if one row does not fit."""
    return _that_fit(session, n, 1)


def members_that_fit(session: Session, n: int, batch_size: int) -> int:
    """The number of members whose largest batches fit into free memory together; at least 1.

    Measured: the batch of one member with the longest texts is passed forward and backward.

    Args:
        session: shared by the members.
        n: prompt length.
        batch_size: rows per member.
    """
    return max(1, _that_fit(session, n, batch_size))


def _that_fit(session: Session, n: int, batch_size: int) -> int:
    """The number of batches of `batch_size` rows that fit into free memory; 0 if one does not fit."""
    free = free_bytes(session.backbone.device)
    try:
        fit = int(SHARE * free / activation_bytes(session, n, batch_size))
        log.info("%.1f GiB are free: %d batches of %d rows fit", free / 2**30, fit, batch_size)
        return fit
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    release_cached(session.backbone.device)
    return 0


def activation_bytes(session: Session, n: int, batch_size: int) -> int:
    """Peak memory of one member's training pass with the longest texts, in bytes, without the weights.

    The pass is forward and backward, with dropout or gradient checkpointing as in the config. It leaves no
    gradient on any parameter.
    """
    backbone, data = session.backbone, session.train
    longest = sorted(range(len(data)), key=lambda row: data.lengths[row])[-batch_size:]
    batch = collate(data, [longest], backbone.tokenizer.pad_token_id, backbone.device)
    P, copy = torch.zeros(2, n, backbone.d_model, device=backbone.device, requires_grad=True).unbind()
    flips = "flip-example" in parse_twins(session.config.twin)
    flip = Flip(copy, torch.ones(len(batch.labels), device=backbone.device)) if flips else None
    trained = [parameter for parameter in backbone.model.parameters() if parameter.requires_grad]
    generators = [torch.Generator(backbone.device)]
    with (
        PeakMemory(left_out=partial(is_fetched, backbone.model)) as memory,
        training_mode(backbone, session.config, n, batch, generators) as in_training,
        refetch_weights(backbone.model),
    ):
        (loss,) = losses(in_training, [PromptInput(P, flip=flip)], batch)
        torch.autograd.grad(loss, [P, *([copy] if flips else []), *trained], allow_unused=True)
    return memory.peak


def release_cached(device: torch.device) -> None:
    """Return the GPU memory that torch caches to the driver."""
    release = getattr(torch.get_device_module(device), "empty_cache", None)
    if release is not None:
        release()
