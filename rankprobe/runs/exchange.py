"""Reads and writes soft prompts: run folders, `.npy`, safetensors and torch files, and PEFT adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Shaped
from safetensors.numpy import save_file

from rankprobe.errors import RankprobeError, unknown
from rankprobe.hub import cached_file, hub_place
from rankprobe.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, hub_adapter, prompt_config
from rankprobe.runs.files import temporary
from rankprobe.runs.folder import MANIFEST, Run
from rankprobe.runs.tensor_files import as_array, file_format, guarded, is_float, is_matrix, read_tensors
from rankprobe.settings import file_name_splits

Matrices = dict[str, Float[np.ndarray, "_n _d"]]
"""Prompts by name; their shapes may differ."""

RUN_PROMPTS = ("final", "best", "P0")
KNOWN_NAMES = (*RUN_PROMPTS, "prompt", "encoder", "decoder")
MAX_LISTED = 12
"""The largest number of matrix names that an error lists."""
MODEL_CARD = "README.md"
"""The file that the hub shows as the page of a model."""
FORMATS = ("peft", "npy", "safetensors")
"""The formats of `write_prompt`."""


def read_prompt(place: str | Path) -> Float[np.ndarray, "n d"]:
    """Read the main prompt: the final prompt of a run, the encoder prompt of an adapter, or the only prompt.

    See `read_prompts` for `place`.

    Raises:
        RankprobeError: as for `read_prompts`; or there are several prompts without a main one.
    """
    prompts = read_prompts(place)
    for name in ("final", "prompt", "encoder"):
        if name in prompts:
            return prompts[name]
    if len(prompts) > 1:
        raise _several(place, prompts)
    return next(iter(prompts.values()))


def read_prompts(place: str | Path) -> Matrices:
    """Read the soft prompts at `place` by name, in float32, or in float64 if they are saved in 64 bits.

    The content of a file decides its format, not its name. Leading axes of length one are dropped.

    Args:
        place: one of these:

            - a run folder: gives `final`, `best`, `P0`;
            - a `.npy` file (as saved by google-research/prompt-tuning), or a tensor saved by `torch.save`:
              gives one prompt, with the file name without suffix;
            - a `.npz` or `.safetensors` file, or a state dict or checkpoint saved by `torch.save`: gives its
              matrices with the names `final`, `best`, `P0`, `prompt`, `encoder`, `decoder`; without these,
              its only matrix of floats;
            - a PEFT adapter: its folder, its config, its weights, a folder with one adapter in its subfolders
              (such as the output of a trainer), or the hub id of an adapter in the cache. Prompt tuning,
              P-tuning and CPT give `prompt`, or `encoder` and `decoder` if 2n rows are saved, as for an
              encoder-decoder. Multitask prompt tuning gives `task0`, `task1`, …;
            - `hub:ORG/NAME` or `hub:ORG/NAME@REVISION`: a PEFT adapter on the hub, from the cache if it is
              there;
            - `PLACE:NAME`: the prompts at PLACE whose names match NAME, for example `model.pt:soft.weight` or
              `prompts.safetensors:*`.

    Raises:
        RankprobeError: `place` does not exist, has no prompt, or has several matrices and NAME is missing; an
            adapter has another type; a number is not finite; or a pickle contains more than tensors.
    """
    path, name = split_place(place)
    if (path / MANIFEST).is_file():
        saved = Run(path).tensors()
        tensors = {key: saved[key] for key in RUN_PROMPTS if key in saved}
    elif adapter := _find_adapter(path):
        tensors = _read_adapter(*adapter)
    elif path.is_file() and file_format(path):
        tensors = read_tensors(path)
        if name is None and list(tensors) != [path.stem]:
            tensors = _only_matrix(path, tensors)
    else:
        raise RankprobeError(
            f"no prompt at '{place}'; expected a run folder, a .npy, .npz or .safetensors file, a file "
            "of torch.save, or a PEFT adapter"
        )
    if name is not None:
        tensors = _matching(path, tensors, name)
    if not tensors:
        raise RankprobeError(f"no matrix in '{place}'; expected a soft prompt (n, d)")
    return {key: _prompt(value, f"'{key}' in '{path}'", path) for key, value in tensors.items()}


def split_place(place: str | Path) -> tuple[Path, str | None]:
    """Split `PLACE` or `PLACE:NAME` into a path and a name or None; a hub id gives its path in the cache.

    Raises:
        RankprobeError: `hub:…` cannot be fetched; see `hub_adapter`.
    """
    if named := hub_place(str(place)):
        return hub_adapter(named), named.name
    if path := _existing(place):
        return path, None
    for head, name in file_name_splits(str(place)):
        if path := _existing(head):
            return path, name
    return Path(place), None


def _existing(place: str | Path) -> Path | None:
    """Return the path of a file or folder, or the cached config of the adapter with this hub id; or None."""
    path = Path(os.path.expanduser(place))  # noqa: PTH111 - Path.expanduser raises if the user does not exist
    if path.exists():
        return path
    return cached_file(str(place), ADAPTER_CONFIG)


def _matching(path: Path, tensors: Mapping[str, Any], pattern: str) -> dict[str, Any]:
    """Return the tensor whose name is `pattern`; if there is none, the matrices whose names match it."""
    if pattern in tensors:
        return {pattern: tensors[pattern]}
    matrices = {name: value for name, value in tensors.items() if is_matrix(value)}
    matching = {name: value for name, value in matrices.items() if fnmatchcase(name, pattern)}
    if not matching:
        raise unknown(f"matrix of '{path}'", pattern, matrices)
    return matching


def _only_matrix(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the matrices with names in `KNOWN_NAMES`; if there are none, the only matrix of floats.

    A matrix of integers (positions, token ids) counts only if there is no matrix of floats.
    """
    matrices = {name: value for name, value in tensors.items() if is_matrix(value)}
    known = {name: value for name, value in matrices.items() if name in KNOWN_NAMES}
    floats = {name: value for name, value in matrices.items() if is_float(value)}
    candidates = known or floats or matrices
    if len(candidates) > 1 and not known:
        raise _several(path, candidates)
    if not candidates and tensors:
        raise RankprobeError(
            f"no matrix in '{path}'; expected a soft prompt (n, d), but found {_with_shapes(tensors)}"
        )
    return candidates


def _several(place: str | Path, matrices: Mapping[str, Any]) -> RankprobeError:
    return RankprobeError(
        f"'{place}' holds several prompts: {_with_shapes(matrices)}; save one of them, or choose one by "
        f"name: '{place}:{next(iter(matrices))}'"
    )


def _with_shapes(tensors: Mapping[str, Any]) -> str:
    return _listed(f"{name} {tuple(value.shape)}" for name, value in tensors.items())


def _listed(names: Iterable[str]) -> str:
    """Join the first `MAX_LISTED` names, and the number of the others."""
    listed = list(names)
    more = [f"{len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else []
    return ", ".join([*listed[:MAX_LISTED], *more])


def _prompt(value: Any, name: str, path: Path) -> Float[np.ndarray, "n d"]:
    """Convert `value` to a matrix of finite floats in native byte order; drop leading axes of length 1."""
    if hasattr(value, "shape"):
        value = guarded(path, lambda: as_array(value))
    if is_matrix(value):
        value = value.reshape(value.shape[-2:])
    expected = "expected a matrix (n, d) of finite numbers"
    if not isinstance(value, np.ndarray):
        raise RankprobeError(f"{name} is {type(value).__name__}; {expected}")
    if value.dtype.kind not in "fiu" or value.ndim != 2 or not value.size:
        hint = f"; save one of its {prod(value.shape[:-2])} matrices" if value.ndim > 2 else ""
        raise RankprobeError(f"{name} is {value.dtype} {value.shape}; {expected}{hint}")
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise RankprobeError(
            f"{name} holds NaN or infinite entries, or entries too large for float32; {expected}"
        )
    return value.astype(np.float64) if value.dtype.itemsize >= 8 else narrow


def write_prompt(
    P: Shaped[np.ndarray, "n d"],
    place: str | Path,
    kind: str,
    *,
    model: str,
    causal: bool,
    card: str | None = None,
) -> Path:
    """Write a soft prompt in float32 and return its path. If this fails, nothing is left at `place`.

    Args:
        P: the prompt.
        place: a file for `npy` and `safetensors`, a folder for `peft`; must not exist.
        kind: `npy`, `safetensors` (one matrix with the name `prompt`), or `peft`: a prompt-tuning adapter
            that `PeftModel.from_pretrained` loads. In an encoder-decoder, only the encoder gets the prompt
            (`num_transformer_submodules=1`), as in Lester et al. (2021).
        model: the hub id or folder of the base model, for the config of the adapter.
        causal: whether the base model is decoder-only.
        card: a model card, which becomes the file README.md of an adapter; other formats have none.

    Raises:
        RankprobeError: `kind` is not a known format, the file name does not end in `.<kind>`, `place` exists,
            or it cannot be written.
    """
    path = Path(place)
    if kind not in FORMATS:
        raise unknown("format", kind, FORMATS)
    if kind != "peft" and path.suffix != f".{kind}":
        raise RankprobeError(f"'{path}' does not end in .{kind}; choose another name")
    if path.exists():
        raise RankprobeError(f"'{path}' exists; choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary(path, folder=kind == "peft") as unfinished:
            _write(np.ascontiguousarray(P, dtype=np.float32), unfinished, kind, model, causal, card)
            unfinished.rename(path)
    except OSError as error:
        raise RankprobeError(f"'{path}' cannot be written ({error})") from None
    return path


def _write(
    P: Float32[np.ndarray, "n d"], place: Path, kind: str, model: str, causal: bool, card: str | None
) -> None:
    """Write into an empty file or, for `peft`, into an empty folder."""
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
        (place / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        if card is not None:
            (place / MODEL_CARD).write_text(card, encoding="utf-8")


def _find_adapter(path: Path) -> tuple[Path, Path | None] | None:
    """Return the folder of the adapter at `path`, and `path` if it is the weights file; or None.

    Raises:
        RankprobeError: subfolders of `path` contain several adapters.
    """
    if path.name == ADAPTER_CONFIG and path.is_file():
        return path.parent, None
    if path.name in ADAPTER_WEIGHTS and (path.parent / ADAPTER_CONFIG).is_file():
        return path.parent, path
    if (path / ADAPTER_CONFIG).is_file():
        return path, None
    # PEFT saves adapters other than the default one in subfolders; Trainer makes a subfolder per checkpoint.
    for pattern in ("*", "*/*"):
        folders = sorted(config.parent for config in path.glob(f"{pattern}/{ADAPTER_CONFIG}"))
        if len(folders) > 1:
            names = _listed(str(folder.relative_to(path)) for folder in folders)
            raise RankprobeError(
                f"'{path}' holds several adapters ({names}); choose one, such as '{folders[0]}'"
            )
        if folders:
            return folders[0], None
    return None


def _read_adapter(path: Path, file: Path | None = None) -> Matrices:
    """Read the prompts of the PEFT adapter in a folder, per task, encoder and decoder separately.

    Args:
        path: the folder.
        file: the weights; None: the file name that PEFT uses.
    """
    config = prompt_config(path / ADAPTER_CONFIG, str(path))
    kind = config["peft_type"]
    factor_names = ["prefix_task_cols", "prefix_task_rows"] if kind == "MULTITASK_PROMPT_TUNING" else []
    file = file or _weights_file(path)
    weights = read_tensors(file)
    n: Any = config.get("num_virtual_tokens")
    missing = [
        name for name in ("prompt_embeddings", *factor_names) if not hasattr(weights.get(name), "dtype")
    ]
    if not isinstance(n, int) or n < 1:
        missing.append("num_virtual_tokens")
    if missing:
        raise RankprobeError(f"no {missing[0]} in '{path}'; expected an adapter saved by PEFT")
    P = _prompt(weights["prompt_embeddings"], f"'prompt_embeddings' in '{path}'", file)
    if len(P) not in (n, 2 * n):
        raise RankprobeError(
            f"'{path}' has {len(P)} prompt rows, and num_virtual_tokens is {n}; expected {n} or {2 * n} rows"
        )
    if config.get("token_dim") not in (None, P.shape[1]):
        raise RankprobeError(
            f"'{path}' has a prompt of width {P.shape[1]}, and token_dim is {config['token_dim']}; expected "
            "an adapter saved by PEFT"
        )
    if not factor_names:
        return {"prompt": P} if len(P) == n else {"encoder": P[:n], "decoder": P[n:]}
    columns, rows = (guarded(file, lambda name=name: as_array(weights[name])) for name in factor_names)
    tasks, r = (columns.shape[0], columns.shape[-1]) if columns.ndim == 3 else (0, 0)
    if columns.shape != (tasks, len(P), r) or rows.shape != (tasks, r, P.shape[1]):
        raise RankprobeError(
            f"prompt, prefix_task_cols and prefix_task_rows in '{path}' are {P.shape}, {columns.shape}, "
            f"{rows.shape}; expected (n, d), (tasks, n, r), (tasks, r, d)"
        )
    prompts: Matrices = {}
    for task in range(tasks):
        product = P * (columns[task] @ rows[task])
        if len(P) == n:
            prompts[f"task{task}"] = product
        else:
            prompts |= {f"task{task}_encoder": product[:n], f"task{task}_decoder": product[n:]}
    return prompts


def _weights_file(path: Path) -> Path:
    file = next((path / name for name in ADAPTER_WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise RankprobeError(f"no weights in '{path}'; expected {' or '.join(ADAPTER_WEIGHTS)}")
    return file
