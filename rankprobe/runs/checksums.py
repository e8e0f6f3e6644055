"""JSON, safetensors and Parquet files that contain their own SHA-256, to detect damage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankprobe.errors import RankprobeError
from rankprobe.lfs import check_lfs
from rankprobe.runs.files import write_json

PLACEHOLDER = "0" * 64
"""Takes the place of the SHA-256 in the metadata of a file while the SHA-256 is computed."""


def write_checked_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object as `write_json` does; its last key, `sha256`, is the checksum of the rest."""
    write_json(path, {**value, "sha256": _json_checksum(value)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """Read a file of `write_checked_json`, or a JSON object without a checksum.

    Raises:
        RankprobeError: the file is missing, damaged, or was edited.
    """
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
        if value.pop("sha256", None) not in (None, _json_checksum(value)):
            raise ValueError("its checksum does not match: it was damaged, or edited")
    except (OSError, ValueError, RecursionError) as error:
        check_lfs(path)
        raise RankprobeError(f"{path} cannot be read ({error})") from None
    return value


def _json_checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def with_checksum(raw: bytes) -> bytes:
    """Put the SHA-256 of a safetensors or Parquet file into its metadata, in place of `PLACEHOLDER`."""
    return raw.replace(PLACEHOLDER.encode(), hashlib.sha256(raw).hexdigest().encode(), 1)


def verify_checksum(raw: bytes, checksum: str | None) -> None:
    """Check a file of `with_checksum`; a file of another program has no checksum and is accepted.

    Args:
        raw: the content of the file.
        checksum: the SHA-256 in its metadata, if any.

    Raises:
        ValueError: the checksum does not match.
    """
    if checksum:
        hashed = raw.replace(checksum.encode(), PLACEHOLDER.encode(), 1)
        if hashlib.sha256(hashed).hexdigest() != checksum:
            raise ValueError("its checksum does not match")


def checked_metadata(raw: bytes) -> dict[str, str]:
    """Check the checksum of a safetensors file, and return its metadata.

    Raises:
        ValueError: the bytes are not a safetensors file, or the checksum does not match.
    """
    size = int.from_bytes(raw[:8], "little")
    metadata = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
    verify_checksum(raw, metadata.get("sha256"))
    return metadata
