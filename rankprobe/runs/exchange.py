"""Soft prompts in files: run folders, `.npy`, safetensors, and PEFT adapters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from rankprobe.errors import RankprobeError, unknown
from rankprobe.runs.files import temporary
from rankprobe.runs.folder import MANIFEST, Run

Matrices = dict[str, NDArray[np.generic]]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PROMPT_TYPES = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING")
RUN_PROMPTS = ("final", "best", "P0")
KINDS = ("peft", "npy", "safetensors")
"""What a prompt can be written as."""


def read_prompt(place: str | Path) -> NDArray[np.generic]:
    """The one prompt of `read_prompts` that counts: a run's final one, an adapter's encoder prompt.

    Raises:
        RankprobeError: several prompts, and none that comes before the others.
    """
    found = read_prompts(place)
    for name in ("final", "prompt", "encoder", *([next(iter(found))] if len(found) == 1 else [])):
        if name in found:
            return found[name]
    raise RankprobeError(
        f"'{place}' holds several prompts ({', '.join(found)}); save one of them, as .npy or .safetensors"
    )


def read_prompts(place: str | Path) -> Matrices:
    """The soft prompts kept at `place`, each (n, d), by name, in float32 (or float64, as saved).

    Args:
        place: a run folder (`final`, `best`, `P0`), a `.npy` file (as google-research/prompt-tuning saves; by
            its stem), a `.safetensors` file (every matrix in it), or the folder of a PEFT adapter: prompt
            tuning (`prompt`, or `encoder` and `decoder` for an encoder-decoder, whose 2n saved rows are two
            prompts), or multitask prompt tuning (`task0`, `task1`, …).

    Raises:
        RankprobeError: nothing there, no prompt in it, an adapter of another kind, or not finite.
    """
    path = Path(place)
    if (path / MANIFEST).is_file():
        tensors = Run(path).tensors()
        found = {name: tensors[name] for name in RUN_PROMPTS if name in tensors}
    elif (path / ADAPTER_CONFIG).is_file():
        found = _adapter(path)
    elif path.suffix == ".npy" and path.is_file():
        found = {path.stem: _load(path, lambda: _npy(path))}
    elif path.suffix == ".safetensors" and path.is_file():
        found = {name: each for name, each in _safetensors(path).items() if each.ndim == 2}
    else:
        raise RankprobeError(
            f"no prompt at '{place}'; expected a run folder, a .npy or .safetensors file, or a PEFT adapter"
        )
    if not found:
        raise RankprobeError(f"no matrix in '{place}'; expected a soft prompt (n, d)")
    return {name: _prompt(each, f"'{name}' in '{place}'") for name, each in found.items()}


def _npy(path: Path) -> Any:
    with path.open("rb") as file:  # closed also where numpy fails halfway
        return np.load(file, allow_pickle=False)


def _prompt(value: Any, what: str) -> NDArray[np.generic]:
    """`value` as a matrix of finite floats in the machine's byte order."""
    if (
        not isinstance(value, np.ndarray)
        or value.dtype.kind not in "fiu"
        or value.ndim != 2
        or not value.size
    ):
        shape = getattr(value, "shape", type(value).__name__)
        kind = getattr(value, "dtype", "")
        raise RankprobeError(f"{what} is {kind} {shape}; expected a matrix (n, d) of finite numbers")
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise RankprobeError(
            f"{what} holds NaN or infinite entries, or some too large for float32; expected a matrix (n, d) "
            "of finite numbers"
        )
    return value.astype(np.float64) if value.dtype.itemsize == 8 else narrow


def write_prompt(P: NDArray[np.generic], place: str | Path, kind: str, *, model: str, causal: bool) -> Path:
    """Write a soft prompt (n, d) to `place`, all of it or nothing; returns what was written.

    Args:
        P: the prompt.
        place: a file for `npy` and `safetensors`, a folder for `peft`; must not exist.
        kind: `npy`, `safetensors` (one matrix called `prompt`), or `peft`: a prompt-tuning adapter that
            `PeftModel.from_pretrained` loads. For an encoder-decoder it has the encoder's prompt alone
            (`num_transformer_submodules=1`), as in Lester et al. (2021).
        model: the hub id or folder that PEFT notes as the base model.
        causal: whether that is a decoder-only model.

    Raises:
        RankprobeError: an unknown kind, or something is there.
    """
    path = Path(place)
    if kind not in KINDS:
        raise unknown("format", kind, KINDS)
    if kind != "peft" and path.suffix != f".{kind}":
        raise RankprobeError(
            f"'{path}' does not end in .{kind}, so it could not be read again; give another name"
        )
    if path.exists():
        raise RankprobeError(f"'{path}' exists; choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary(path, folder=kind == "peft") as unfinished:
            _write(np.ascontiguousarray(P, dtype=np.float32), unfinished, kind, model, causal)
            unfinished.rename(path)
    except OSError as error:
        raise RankprobeError(f"'{path}' cannot be written ({error})") from None
    return path


def _write(P: NDArray[np.float32], place: Path, kind: str, model: str, causal: bool) -> None:
    """Into an empty file, for `peft` into an empty folder."""
    if kind == "npy":
        with place.open("wb") as file:
            np.save(file, P)
    elif kind == "safetensors":
        save_file({"prompt": P}, place)
    else:
        save_file({"prompt_embeddings": P}, place / ADAPTER_WEIGHTS[0])
        config = {
            "peft_type": "PROMPT_TUNING",
            "task_type": "CAUSAL_LM" if causal else "SEQ_2_SEQ_LM",
            "base_model_name_or_path": model,
            "num_virtual_tokens": P.shape[0],
            "token_dim": P.shape[1],
            "num_transformer_submodules": 1,
            "prompt_tuning_init": "RANDOM",
            "inference_mode": True,
        }
        (place / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _adapter(path: Path) -> Matrices:
    """The prompts of a PEFT adapter, encoder and decoder apart, one per task."""
    config = _load(path / ADAPTER_CONFIG, lambda: json.loads((path / ADAPTER_CONFIG).read_bytes()))
    kind = str(config.get("peft_type") if isinstance(config, dict) else None)
    if kind not in PROMPT_TYPES:
        raise RankprobeError(
            f"the adapter in '{path}' is of type {kind}; expected one of {', '.join(PROMPT_TYPES)}: only "
            "they are matrices of prompt tokens"
        )
    wanted = ("prompt_embeddings", "prefix_task_cols", "prefix_task_rows")[
        : 1 if kind == PROMPT_TYPES[0] else 3
    ]
    weights, n = _adapter_weights(path), config.get("num_virtual_tokens")
    missing = [name for name in wanted if not isinstance(weights.get(name), np.ndarray)]
    if missing or not isinstance(n, int) or n < 1:
        raise RankprobeError(
            f"no {(missing or ['num_virtual_tokens'])[0]} in '{path}'; expected what PEFT saves"
        )
    P = _prompt(weights["prompt_embeddings"], f"'prompt_embeddings' in '{path}'")
    if len(P) not in (n, 2 * n):
        raise RankprobeError(
            f"'{path}' has {len(P)} rows of prompt, and num_virtual_tokens is {n}; expected {n} or {2 * n}"
        )
    parts = {"prompt": P} if len(P) == n else {"encoder": P[:n], "decoder": P[n:]}
    if kind == "PROMPT_TUNING":
        return parts
    columns, rows = weights["prefix_task_cols"], weights["prefix_task_rows"]
    tasks, r = (columns.shape[0], columns.shape[-1]) if columns.ndim == 3 else (0, 0)
    if columns.shape != (tasks, len(P), r) or rows.shape != (tasks, r, P.shape[1]):
        raise RankprobeError(
            f"prompt, prefix_task_cols and prefix_task_rows in '{path}' are {P.shape}, {columns.shape}, "
            f"{rows.shape}; expected (n, d), (tasks, n, r), (tasks, r, d)"
        )
    return {
        f"task{task}" if len(parts) == 1 else f"task{task}_{name}": part * factor
        for task in range(len(columns))
        for name, part, factor in _per_part(parts, columns[task] @ rows[task])
    }


def _per_part(parts: Matrices, factor: Any) -> list[tuple[str, Any, Any]]:
    """Each part of the shared prompt with its rows of the task's factor."""
    sizes = np.cumsum([len(part) for part in parts.values()])[:-1]
    return list(zip(parts, parts.values(), np.split(factor, sizes), strict=True))


def _adapter_weights(path: Path) -> Matrices:
    file = next((path / name for name in ADAPTER_WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise RankprobeError(f"no weights in '{path}'; expected {' or '.join(ADAPTER_WEIGHTS)}")
    if file.suffix == ".safetensors":
        return _safetensors(file)
    import torch

    return _load(file, lambda: _arrays(torch.load(file, map_location="cpu", weights_only=True)))


def _safetensors(path: Path) -> Matrices:
    from safetensors.torch import load_file

    return _load(path, lambda: _arrays(load_file(path)))


def _arrays(saved: Any) -> Matrices:
    """The torch tensors in a mapping as numpy arrays; numpy has no bfloat16."""
    tensors = saved.items() if isinstance(saved, Mapping) else ()
    floats = {name: t for name, t in tensors if hasattr(t, "numpy")}
    return {
        name: (t.float() if t.is_floating_point() and t.dtype.itemsize < 4 else t).numpy()
        for name, t in floats.items()
    }


def _load(path: Path, read: Any) -> Any:
    from pickle import UnpicklingError
    from struct import error as StructError  # noqa: N812
    from tokenize import TokenError
    from zipfile import BadZipFile

    from safetensors import SafetensorError

    kinds = (OSError, ValueError, EOFError, RuntimeError, SafetensorError, BadZipFile)
    kinds += (SyntaxError, TokenError)  # numpy reads the header of a .npy file as Python
    kinds += (LookupError, TypeError, AttributeError, AssertionError, StructError)  # torch's unpickler
    try:
        return read()
    except UnpicklingError:  # its own text says how to load the file all the same
        reason = "Weights only load failed: it holds more than tensors, which could run code"
        raise RankprobeError(f"'{path}' cannot be read ({reason})") from None
    except kinds as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RankprobeError(f"'{path}' cannot be read ({reason})") from None
