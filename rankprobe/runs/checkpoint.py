"""What resume needs, in one file that is replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rankprobe.errors import RankprobeError
from rankprobe.runs.files import write_atomically


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint: tensors by name, and JSON facts in the header of the same file."""
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, tensors, {"facts": json.dumps(facts, allow_nan=False)})


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint.

    Raises:
        RankprobeError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _facts(file)  # noqa: SIM118


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """The facts alone, without reading the tensors; raises as `load_checkpoint`."""
    with _opened(path) as file:
        return _facts(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise RankprobeError(
            f"checkpoint {path} cannot be read ({error}); start over with --overwrite"
        ) from None


def _facts(file: Any) -> dict[str, Any]:
    return json.loads(file.metadata()["facts"])


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Replace a safetensors file."""
    content = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_atomically(path, save(content, dict(metadata) if metadata else None))
