"""Reads the tensors in files of numpy, safetensors and torch. The content of a file decides its format."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped

from rankprobe.errors import RankprobeError, first_line
from rankprobe.lfs import check_lfs

Result = TypeVar("Result")
Tensors = dict[str, Any]
"""numpy arrays and torch tensors by name. The caller refuses values of other types."""

PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
OPTIMIZER = {"state", "param_groups"}
"""The keys of `torch.optim.Optimizer.state_dict`."""


def file_format(path: Path) -> str | None:
    """Return the format of a file: `npy`, `zip`, `pickle` or `safetensors`; None for any other format.

    The first bytes decide; if they are damaged, the suffix decides (`.npy` or `.safetensors`).

    Raises:
        RankprobeError: the file cannot be opened, or is a Git LFS pointer.
    """
    check_lfs(path)
    head = guarded(path, lambda: _head(path))
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(PICKLES):
        return "pickle"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    return path.suffix[1:] if path.suffix in (".npy", ".safetensors") else None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(9)


def read_tensors(path: Path) -> Tensors:
    """Read the tensors in a file by name. Names of nested containers are joined by dots.

    A single tensor without a name gets the file name without suffix. The formats are `.npy`, `.npz`,
    `.safetensors`, and files of `torch.save` with a tensor or nested mappings and lists of tensors. The state
    of an optimizer is left out. Pickles are loaded with `weights_only=True`.

    Raises:
        RankprobeError: the file has another format, is damaged, or contains more than tensors.
    """
    kind = file_format(path)
    if kind is None:
        raise RankprobeError(
            f"'{path}' cannot be read (it is not a .npy, .npz or .safetensors file, or a file of torch.save)"
        )
    saved = guarded(path, lambda: READERS[kind](path))
    if _items(saved) is None:
        return {path.stem: saved}
    return guarded(path, lambda: {_printable(name): value for name, value in _leaves(saved, "", set())})


def _numpy(path: Path) -> Any:
    """Read the array of an `.npy` file, or the arrays of an `.npz` file.

    If an `.npz` file contains pickled arrays, it is returned as an open file, and the caller refuses it.
    """
    with path.open("rb") as file:  # closes the file also if numpy raises an error
        if file.peek(1)[:1] not in (b"", b"\x93", b"P"):  # numpy would take it for a pickle, and say so
            raise ValueError("it is not a file of numpy")
        saved = np.load(file, allow_pickle=False)
        if not isinstance(saved, np.lib.npyio.NpzFile):
            return saved
        try:
            return {name: saved[name] for name in saved.files}
        except ValueError:
            return saved


def _zip(path: Path) -> Any:
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in names:
        raise ValueError("it is a TorchScript archive, which holds code; save the tensor with torch.save")
    return _torch(path) if "data.pkl" in names else _numpy(path)


def _torch(path: Path) -> Any:
    import torch

    # An open file, because torch chooses the format by the suffix of a path.
    with path.open("rb") as file, warnings.catch_warnings():
        # About pickle protocols, and complex, sparse and quantized tensors: all are read, or refused later.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True)


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


READERS: dict[str, Callable[[Path], Any]] = {
    "npy": _numpy,
    "zip": _zip,
    "pickle": _torch,
    "safetensors": _safetensors,
}


def _items(saved: Any) -> list[tuple[Any, Any]] | None:
    """Return the keys and values of a mapping or list; None for other types, such as an open `.npz` file."""
    if isinstance(saved, Mapping):
        return None if hasattr(saved, "files") else list(saved.items())
    return list(enumerate(saved)) if isinstance(saved, (list, tuple)) else None


def _leaves(saved: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield joined names and tensors of nested mappings and lists; each container is visited once."""
    items = _items(saved)
    if items is None:
        if hasattr(saved, "shape") and hasattr(saved, "dtype"):
            yield name, saved
    elif id(saved) not in seen and not {key for key, _ in items} >= OPTIMIZER:
        seen.add(id(saved))
        for key, value in items:
            yield from _leaves(value, f"{name}.{key}" if name else str(key), seen)


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def is_matrix(value: Any) -> bool:
    """Return whether a tensor has two axes, apart from leading axes of length one (a batch of one)."""
    shape: tuple[int, ...] = () if getattr(value, "is_nested", False) else getattr(value, "shape", ())
    return len(shape) >= 2 and all(length == 1 for length in shape[:-2])


def is_float(value: Any) -> bool:
    """Return whether a tensor has a floating-point dtype."""
    return value.dtype.kind == "f" if isinstance(value, np.ndarray) else value.is_floating_point()


def as_array(value: Any) -> Shaped[np.ndarray, " ..."]:
    """Convert a tensor to a numpy array; torch floats narrower than float32 become float32.

    Raises:
        ValueError: the tensor is not dense (nested, quantized, meta, sparse).
        RuntimeError, TypeError: torch cannot convert its dtype.
    """
    if isinstance(value, np.ndarray):
        return value
    import torch

    for kind in ("nested", "quantized", "meta"):
        if getattr(value, f"is_{kind}"):
            raise ValueError(f"it is a {kind} tensor; expected a dense tensor")
    if value.layout is not torch.strided:
        raise ValueError(f"it is a tensor of layout {value.layout}; expected a dense tensor")
    plain = value.detach().resolve_conj().resolve_neg()
    return (plain.float() if plain.is_floating_point() and plain.dtype.itemsize < 4 else plain).numpy()


def guarded(path: Path, read: Callable[[], Result]) -> Result:
    """Return `read()`; if a damaged file raises an error, replace it by one line that names `path`.

    Raises:
        RankprobeError: numpy, safetensors, torch or zipfile raised an error.
    """
    from lzma import LZMAError
    from pickle import UnpicklingError
    from struct import error as StructError  # noqa: N812
    from tokenize import TokenError
    from zipfile import BadZipFile
    from zlib import error as ZlibError  # noqa: N812

    from safetensors import SafetensorError

    kinds = (OSError, ValueError, EOFError, RuntimeError, SafetensorError, BadZipFile)
    kinds += (LZMAError, ZlibError, MemoryError)  # damaged sizes or archives
    kinds += (SyntaxError, TokenError)  # numpy parses the header of a .npy file as Python
    kinds += (LookupError, TypeError, AttributeError, AssertionError, StructError)  # torch's unpickler
    try:
        return read()
    except UnpicklingError as error:  # its message recommends an unsafe way to load the file
        if "Unsupported operand" in str(error):
            reason = "(it is damaged, or pickled by another protocol than 2, the default of torch.save)"
        else:
            reason = (
                "(Weights only load failed: it holds more than tensors, which could run code); "
                "save the prompt alone, or a state dict"
            )
        raise RankprobeError(f"'{path}' cannot be read {reason}") from None
    except kinds as error:
        raise RankprobeError(f"'{path}' cannot be read ({first_line(error)})") from None
