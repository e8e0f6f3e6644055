"""Checkpoints: a safetensors file per step with all that a resume needs. The last two are kept."""

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
from rankprobe.runs.checksums import PLACEHOLDER, checked_metadata, with_checksum
from rankprobe.runs.files import write_atomically

MAX_CHECKPOINTS = 2
"""With two checkpoints, a damaged one costs only the steps since the one before, not the whole run."""


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Save the checkpoint of `step`: tensors by name, and `facts` as JSON in the header of the same file.

    Older checkpoints beyond `MAX_CHECKPOINTS` are removed.
    """
    folder.mkdir(exist_ok=True)
    write_tensors(checkpoint_path(folder, step), tensors, {"facts": json.dumps(facts, allow_nan=False)})
    drop_old_checkpoints(folder, MAX_CHECKPOINTS)


def drop_old_checkpoints(folder: Path, n_kept: int) -> None:
    """Remove all checkpoints except the last `n_kept`."""
    for step in checkpoint_steps(folder)[n_kept:]:
        checkpoint_path(folder, step).unlink()


def load_checkpoint(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of a checkpoint.

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
    """Return the steps that have a checkpoint, damaged or not, last step first."""
    return sorted((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*")), reverse=True)


def last_checkpoint(folder: Path) -> int | None:
    """Return the last step that has a checkpoint, damaged or not."""
    return next(iter(checkpoint_steps(folder)), None)


def drop_later_checkpoints(folder: Path, after: int | None) -> None:
    """Remove the checkpoints after step `after` (None: all), before the logs are cut back to that step."""
    for step in checkpoint_steps(folder):
        if after is None or step > after:
            checkpoint_path(folder, step).unlink()


def intact_checkpoints(folder: Path) -> list[int]:
    """Return the steps whose checkpoint is not damaged, last step first; warn if some are damaged.

    Raises:
        RankprobeError: all checkpoints are damaged.
    """
    intact, errors = list[int](), list[RankprobeError]()
    for step in checkpoint_steps(folder):
        try:
            load_checkpoint(folder, step)
            intact.append(step)
        except RankprobeError as error:
            errors.append(error)
    if errors and not intact:
        raise errors[0]
    if errors:
        path = checkpoint_path(folder, checkpoint_steps(folder)[0])
        warnings.warn(f"{path} is damaged; the run can go on from step {intact[0]}", stacklevel=2)
    return intact


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Replace a safetensors file; its header contains `metadata` and the checksum of the file."""
    content = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_atomically(path, with_checksum(save(content, {**(metadata or {}), "sha256": PLACEHOLDER})))
