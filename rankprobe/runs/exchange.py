"""Soft prompts in files: run folders, `.npy`, safetensors, files of torch.save, and PEFT adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from rankprobe.errors import RankprobeError, unknown
from rankprobe.hub import cached_file, names_in_places
from rankprobe.lfs import check_lfs
from rankprobe.runs.files import temporary
from rankprobe.runs.folder import MANIFEST, Run
from rankprobe.runs.tensor_files import as_array, file_format, guarded, is_float, is_matrix, read_tensors

Matrices = dict[str, NDArray[np.generic]]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PROMPT_TYPES = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "CPT")
"""Adapters whose `prompt_embeddings` are put before the embeddings of a text. P-tuning saves what its network
gives, CPT the sum of the words it starts from and what it learned."""
KEY_VALUE_TYPES = ("PREFIX_TUNING", "CARTRIDGE")
"""Adapters whose `prompt_embeddings` are put before the keys and values of every layer."""

RUN_PROMPTS = ("final", "best", "P0")
OUR_NAMES = (*RUN_PROMPTS, "prompt", "encoder", "decoder")
SHOWN = 12
"""How many names of matrices an error lists at most."""
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
    raise _several(place, found)


def read_prompts(place: str | Path) -> Matrices:
    """The soft prompts kept at `place`, each (n, d), by name, in float32 (or float64, as saved).

    A file is known by its content, whatever its name. Leading axes of length one are dropped. bfloat16,
    float16 and float8 become float32.

    Args:
        place: one of
            - a run folder (`final`, `best`, `P0`);
            - a `.npy` file (as google-research/prompt-tuning saves) or a tensor saved by `torch.save`: by its
              stem;
            - a `.npz` or `.safetensors` file, or a state dict or checkpoint saved by `torch.save`: its only
              matrix of floats, or those that have names of rankprobe (`final`, `best`, `P0`, `prompt`,
              `encoder`, `decoder`);
            - a PEFT adapter: its folder, its config, its weights, a folder with one adapter in its folders
              (such as the output of a trainer), or the hub id of one in the cache. Prompt tuning, P-tuning
              and CPT (`prompt`, or `encoder` and `decoder` for an encoder-decoder, whose 2n saved rows are
              two prompts), or multitask prompt tuning (`task0`, `task1`, …);
            - `PLACE:NAME`: of one of these the prompts whose names match NAME, as in `model.pt:soft.weight`
              or `prompts.safetensors:*`.

    Raises:
        RankprobeError: nothing there, no prompt in it, several matrices and no NAME, an adapter of another
            kind, numbers that are not finite, or a pickle of more than tensors.
    """
    path, name = split_place(place)
    if (path / MANIFEST).is_file():
        tensors = Run(path).tensors()
        found = {each: tensors[each] for each in RUN_PROMPTS if each in tensors}
    elif adapter := _adapter_place(path):
        found = _adapter(*adapter)
    elif path.is_file() and file_format(path):
        found = read_tensors(path)
        if name is None and list(found) != [path.stem]:
            found = _only_matrix(path, found)
    else:
        raise RankprobeError(
            f"no prompt at '{place}'; expected a run folder, a .npy or .safetensors file, or a PEFT adapter, "
            "or a file of torch.save"
        )
    if name is not None:
        found = _named(path, found, name)
    if not found:
        raise RankprobeError(f"no matrix in '{place}'; expected a soft prompt (n, d)")
    return {each: _prompt(value, f"'{each}' in '{path}'", path) for each, value in found.items()}


def split_place(place: str | Path) -> tuple[Path, str | None]:
    """The path, or a cached adapter of the hub, that `PLACE` or `PLACE:NAME` stands for; and the name."""
    if whole := _located(place):
        return whole, None
    for head, name in names_in_places(str(place)):
        if part := _located(head):
            return part, name
    return Path(place), None


def _located(place: str | Path) -> Path | None:
    path = Path(os.path.expanduser(place))  # noqa: PTH111 - Path's raises where there is no such user
    if path.exists():
        return path
    return cached_file(str(place), ADAPTER_CONFIG)


def _named(path: Path, found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The tensor called `name`, or the matrices whose names match it as a pattern."""
    if name in found:
        return {name: found[name]}
    matrices = {each: value for each, value in found.items() if is_matrix(value)}
    chosen = {each: value for each, value in matrices.items() if fnmatchcase(each, name)}
    if not chosen:
        raise unknown(f"matrix of '{path}'", name, matrices)
    return chosen


def _only_matrix(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """The matrix that can be meant: the only one of floats, or those that rankprobe names so.

    Integers (positions, token ids) count only where there are no floats.
    """
    matrices = {name: value for name, value in found.items() if is_matrix(value)}
    ours = {name: value for name, value in matrices.items() if name in OUR_NAMES}
    floats = {name: value for name, value in matrices.items() if is_float(value)}
    chosen = ours or floats or matrices
    if len(chosen) > 1 and not ours:
        raise _several(path, chosen)
    if not chosen and found:
        raise RankprobeError(
            f"no matrix in '{path}'; expected a soft prompt (n, d), and there is {_with_shapes(found)}"
        )
    return chosen


def _several(place: str | Path, found: Mapping[str, Any]) -> RankprobeError:
    return RankprobeError(
        f"'{place}' holds several prompts: {_with_shapes(found)}; save one of them, or name it, as in "
        f"'{place}:{next(iter(found))}'"
    )


def _with_shapes(found: Mapping[str, Any]) -> str:
    return _listed(f"{name} {tuple(value.shape)}" for name, value in found.items())


def _listed(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = list(names)
    more = [f"{len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    return ", ".join([*shown[:SHOWN], *more])


def _prompt(value: Any, what: str, path: Path) -> NDArray[np.generic]:
    """`value` as a matrix of finite floats in the machine's byte order, without a batch axis of one."""
    if hasattr(value, "shape"):
        value = guarded(path, lambda: as_array(value))
    if is_matrix(value):
        value = value.reshape(value.shape[-2:])
    expected = "expected a matrix (n, d) of finite numbers"
    if not isinstance(value, np.ndarray):
        raise RankprobeError(f"{what} is {type(value).__name__}; {expected}")
    if value.dtype.kind not in "fiu" or value.ndim != 2 or not value.size:
        stack = f"; save one of its {prod(value.shape[:-2])} matrices" if value.ndim > 2 else ""
        raise RankprobeError(f"{what} is {value.dtype} {value.shape}; {expected}{stack}")
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise RankprobeError(
            f"{what} holds NaN or infinite entries, or some too large for float32; {expected}"
        )
    return value.astype(np.float64) if value.dtype.itemsize >= 8 else narrow


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


def _adapter_place(path: Path) -> tuple[Path, Path | None] | None:
    """The folder of the adapter that `path` stands for, and `path` if it is the weights; None if no adapter.

    Raises:
        RankprobeError: a folder with several adapters in its folders.
    """
    if path.name == ADAPTER_CONFIG and path.is_file():
        return path.parent, None
    if path.name in ADAPTER_WEIGHTS and (path.parent / ADAPTER_CONFIG).is_file():
        return path.parent, path
    if (path / ADAPTER_CONFIG).is_file():
        return path, None
    # PEFT saves all adapters but the default one in folders of their names, Trainer in one per checkpoint.
    for below in ("*", "*/*"):
        found = sorted(each.parent for each in path.glob(f"{below}/{ADAPTER_CONFIG}"))
        if len(found) > 1:
            names = _listed(str(each.relative_to(path)) for each in found)
            raise RankprobeError(f"'{path}' holds several adapters ({names}); name one, as '{found[0]}'")
        if found:
            return found[0], None
    return None


def _adapter(path: Path, file: Path | None = None) -> Matrices:
    """The prompts of the PEFT adapter in a folder, encoder and decoder apart, one per task.

    Its weights are in `file`; unset: where PEFT puts them.
    """
    check_lfs(path / ADAPTER_CONFIG)
    config = guarded(path / ADAPTER_CONFIG, lambda: json.loads((path / ADAPTER_CONFIG).read_bytes()))
    kind = str(config.get("peft_type") if isinstance(config, dict) else None)
    if kind not in PROMPT_TYPES:
        reason = "it holds keys and values of the layers; " if kind in KEY_VALUE_TYPES else ""
        raise RankprobeError(
            f"the adapter in '{path}' is of type {kind}; expected one of {', '.join(PROMPT_TYPES)}: "
            f"{reason}only they are matrices of prompt tokens"
        )
    wanted = ("prompt_embeddings", "prefix_task_cols", "prefix_task_rows")[
        : 3 if kind == "MULTITASK_PROMPT_TUNING" else 1
    ]
    file = file or _weights_file(path)
    weights, n = read_tensors(file), config.get("num_virtual_tokens")
    missing = [name for name in wanted if not hasattr(weights.get(name), "dtype")]
    if missing or not isinstance(n, int) or n < 1:
        raise RankprobeError(
            f"no {(missing or ['num_virtual_tokens'])[0]} in '{path}'; expected what PEFT saves"
        )
    P = _prompt(weights["prompt_embeddings"], f"'prompt_embeddings' in '{path}'", file)
    if len(P) not in (n, 2 * n):
        raise RankprobeError(
            f"'{path}' has {len(P)} rows of prompt, and num_virtual_tokens is {n}; expected {n} or {2 * n}"
        )
    if config.get("token_dim") not in (None, P.shape[1]):
        raise RankprobeError(
            f"'{path}' has a prompt of width {P.shape[1]}, and token_dim is {config['token_dim']}; expected "
            "what PEFT saves"
        )
    parts = {"prompt": P} if len(P) == n else {"encoder": P[:n], "decoder": P[n:]}
    if kind != "MULTITASK_PROMPT_TUNING":
        return parts
    columns, rows = (guarded(file, lambda name=name: as_array(weights[name])) for name in wanted[1:])
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


def _weights_file(path: Path) -> Path:
    file = next((path / name for name in ADAPTER_WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise RankprobeError(f"no weights in '{path}'; expected {' or '.join(ADAPTER_WEIGHTS)}")
    return file
