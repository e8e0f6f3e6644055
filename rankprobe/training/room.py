"""How many runs one pass has room for."""

from __future__ import annotations

import os

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rankprobe.backbone import Soft, is_fetched, losses
from rankprobe.training.batching import collate
from rankprobe.training.session import Session

SHARE = 0.6
"""Of the free memory that activations may take; the rest is for gradients on the way and for evaluation."""


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
