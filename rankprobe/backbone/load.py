"""Getting a backbone: a hub id, a local folder, or `random:<shape>` with random weights."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.shapes import SHAPES, T5_ROWS
from rankprobe.errors import RankprobeError, unknown

BUNDLED_TOKENIZER = Path(__file__).parent.parent / "bundled" / "tokenizer"
OFFLINE_HINT = "without network, give a local folder: --model FOLDER (or fill the cache under HF_HOME)"


def load_backbone(
    model: str,
    *,
    tokenizer: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    device: str = "cpu",
) -> Backbone:
    """Load a frozen backbone, ready to be spliced.

    Args:
        model: a hub id (`t5-base`), a folder written by `save_pretrained`, or `random:` and a shape of
            `SHAPES`.
        tokenizer: hub id or folder; unset: the model's own (for `random:tiny` the bundled one).
        dtype: of the frozen weights: float32, bfloat16, or float64 (numerical tests).
        seed: of the weights of `random:` backbones; others ignore it.
        device: a torch device.

    Raises:
        RankprobeError: unknown or unreachable model or tokenizer, or a model that cannot be spliced.
    """
    kind, _, shape = model.partition(":")
    weights = getattr(torch, dtype)
    if kind == "random":
        backbone = _random(model, shape, tokenizer, weights, seed)
    else:
        backbone = _pretrained(model, tokenizer, weights)
    _check_spliceable(backbone)
    backbone.model.requires_grad_(False).eval().to(device)
    return backbone


def _random(
    model: str, shape: str, tokenizer: str | None, dtype: torch.dtype, seed: int
) -> Backbone:
    from transformers import T5Config, T5ForConditionalGeneration

    if shape not in SHAPES:
        raise unknown("model", model, [f"random:{name}" for name in SHAPES])
    if tokenizer is None and shape != "tiny":
        raise RankprobeError(
            f"model '{model}' has the real T5 vocabulary and no tokenizer of its own; "
            "give one: --tokenizer FOLDER (or a hub id)"
        )
    pieces = _tokenizer(tokenizer or str(BUNDLED_TOKENIZER))
    config = T5Config(
        vocab_size=len(pieces) if shape == "tiny" else max(T5_ROWS, len(pieces)),
        decoder_start_token_id=pieces.pad_token_id,
        pad_token_id=pieces.pad_token_id,
        eos_token_id=pieces.eos_token_id,
        **SHAPES[shape],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = T5ForConditionalGeneration._from_config(config, attn_implementation="eager")
    return Backbone(model, "random", network.to(dtype), pieces)


def _pretrained(model: str, tokenizer: str | None, dtype: torch.dtype) -> Backbone:
    from transformers import AutoModelForSeq2SeqLM

    folder = Path(model).is_dir()
    if folder and not (Path(model) / "config.json").is_file():
        raise RankprobeError(f"model folder '{model}' holds no config.json; expected a folder written by save_pretrained")
    if not folder and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise RankprobeError(f"model folder '{model}' does not exist; give a folder or a hub id such as t5-base")
    try:
        # Eager attention: as fast as SDPA for these shapes on CPU, and the one whose dropout is visible.
        network = AutoModelForSeq2SeqLM.from_pretrained(model, dtype=dtype, attn_implementation="eager")
    except OSError as error:
        raise _unreachable("model", model, error) from None
    except ValueError as error:
        raise RankprobeError(f"model '{model}' is no encoder-decoder that transformers can load: {_first_line(error)}") from None
    pieces = _tokenizer(tokenizer or model)
    revision = getattr(network.config, "_commit_hash", None)
    return Backbone(model, "folder" if folder else "hub", network, pieces, revision)


def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    if Path(name).exists() and not (Path(name) / "tokenizer_config.json").is_file():
        raise RankprobeError(f"tokenizer '{name}' is no folder with a tokenizer_config.json")
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _unreachable("tokenizer", name, error) from None


def _unreachable(kind: str, name: str, error: Exception) -> RankprobeError:
    return RankprobeError(f"{kind} '{name}' cannot be loaded ({_first_line(error)}); {OFFLINE_HINT}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _check_spliceable(backbone: Backbone) -> None:
    if "inputs_embeds" not in inspect.signature(backbone.model.forward).parameters:
        raise RankprobeError(
            f"model '{backbone.name}' ({type(backbone.model).__name__}) takes no inputs_embeds, so no soft "
            "prompt can be joined to it; use a T5-like encoder-decoder"
        )
