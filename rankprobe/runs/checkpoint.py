"""What resume needs: the checkpoints of the last two steps that had one, each a file with a checksum."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rankprobe.errors import RankprobeError
from rankprobe.lfs import check_lfs
from rankprobe.runs.files import UNSEALED, checked_metadata, sealed, write_atomically

KEPT = 2
"""Checkpoints kept: a damaged one costs the steps since the one before it, not the run."""


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Add the checkpoint of `step`: tensors by name, and JSON facts in the header of the same file."""
    folder.mkdir(exist_ok=True)
    write_tensors(checkpoint_path(folder, step), tensors, {"facts": json.dumps(facts, allow_nan=False)})
    drop_old_checkpoints(folder, KEPT)


def drop_old_checkpoints(folder: Path, kept: int) -> None:
    """Remove all but the last `kept`."""
    for old in checkpoint_steps(folder)[kept:]:
        checkpoint_path(folder, old).unlink()


def load_checkpoint(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint.

    Raises:
        RankprobeError: the file is missing or damaged.
    """
    path = checkpoint_path(folder, step)
    try:
        raw = path.read_bytes()
        metadata = checked_metadata(raw)
        return load(raw), json.loads(metadata["facts"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        check_lfs(path)
        raise RankprobeError(f"checkpoint {path} is damaged ({error}); start over with --overwrite") from None


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step}.safetensors"


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, damaged or not, the last one first."""
    return sorted((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*")), reverse=True)


def last_checkpoint(folder: Path) -> int | None:
    """The last step that has a checkpoint, damaged or not."""
    return next(iter(checkpoint_steps(folder)), None)


def drop_later_checkpoints(folder: Path, after: int | None) -> None:
    """Remove the checkpoints after a step, or all: the logs are about to be cut back to it."""
    for step in checkpoint_steps(folder):
        if after is None or step > after:
            checkpoint_path(folder, step).unlink()


def whole_checkpoints(folder: Path) -> list[int]:
    """The steps whose checkpoint is whole, the last one first; damaged ones are told of in a warning.

    Raises:
        RankprobeError: there are checkpoints, and all of them are damaged.
    """
    whole, damaged = list[int](), list[RankprobeError]()
    for step in checkpoint_steps(folder):
        try:
            load_checkpoint(folder, step)
            whole.append(step)
        except RankprobeError as error:
            damaged.append(error)
    if damaged and not whole:
        raise damaged[0]
    if damaged:
        path = checkpoint_path(folder, checkpoint_steps(folder)[0])
        warnings.warn(f"{path} is damaged; the run can go on from step {whole[0]}", stacklevel=2)
    return whole


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Replace a safetensors file, with its checksum in the header."""
    content = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_atomically(path, sealed(save(content, {**(metadata or {}), "sha256": UNSEALED})))
