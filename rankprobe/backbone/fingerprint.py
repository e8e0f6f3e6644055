"""The checksum of a backbone, which shows that frozen weights did not change."""

from __future__ import annotations

import hashlib

import torch

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.offload import values


def fingerprint(backbone: Backbone) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all weights and buffers (about 1 s per GB)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        owner, _, own = name.rpartition(".")
        held = values(backbone.model.get_submodule(owner), own) if tensor.is_meta else tensor
        flat = held.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
