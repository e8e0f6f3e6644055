"""Getting a backbone: bundled, a hub id, a local folder, or `random:<shape>` with random weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from rankprobe import bundled
from rankprobe.backbone.allocator import keep_memory
from rankprobe.backbone.base import Backbone
from rankprobe.backbone.fast import quicken
from rankprobe.backbone.shapes import SHAPES, T5_ROWS, skeleton
from rankprobe.backbone.spread import is_spread, spread
from rankprobe.errors import RankprobeError, unknown
from rankprobe.hub import cached_commit, first_line, from_hub, is_cached
from rankprobe.lfs import check_lfs_folder

BUNDLED = {name: bundled.FOLDER / name for name in bundled.BACKBONES}
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
RANDOM = [f"random:{shape}" for shape in SHAPES]
BROKEN = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, SafetensorError,
          StrictDataclassError)  # fmt: skip
"""What transformers raises over the files of a damaged model."""
DEVICES = ("cpu", "cuda", "mps")
CHOSEN = ([0, 1, 2], [0, 1, 3])
KNOWN = [*BUNDLED, *RANDOM, "t5-small", "t5-base", "t5-large"]


def load_backbone(
    model: str,
    *,
    tokenizer: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    device: str = "cpu",
    device_map: str | None = None,
) -> Backbone:
    """Load a frozen backbone, ready to be spliced.

    Args:
        model: `tiny` or `mini` (bundled), a hub id (`t5-base`), a folder written by `save_pretrained`, or
            `random:` and a shape of `SHAPES`.
        tokenizer: hub id or folder; unset: the model's own (for `random:tiny` that of `tiny`).
        dtype: of the frozen weights: float32, bfloat16, or float64 (numerical tests).
        seed: of the weights of `random:` backbones; others ignore it.
        device: a torch device.
        device_map: instead of `device`, how accelerate spreads the weights over several; see
            `settings.placement`.

    Raises:
        RankprobeError: unknown or unreachable model, tokenizer or device, a model that cannot be spliced,
            or weights that cannot be spread.
    """
    _check_device(device)
    kind, _, shape = model.partition(":")
    weights = getattr(torch, dtype)
    if kind == "random" and device_map:
        raise RankprobeError(
            f"model '{model}' is made in memory, and --device-map spreads what is loaded; leave it out"
        )
    if kind == "random":
        backbone = _random(model, shape, tokenizer, weights, seed)
    else:
        backbone = _pretrained(model, tokenizer, weights, device_map)
    _check_spliceable(backbone)
    backbone.model.generation_config = _greedy(backbone)
    backbone.model.requires_grad_(False).eval()
    if not device_map:
        backbone.model.to(device)
    if not is_spread(backbone.model):  # else accelerate's hooks hold on to the plain layers
        quicken(backbone.model)
    if backbone.device.type == "cpu":
        keep_memory()
    return backbone


def _random(model: str, shape: str, tokenizer: str | None, dtype: torch.dtype, seed: int) -> Backbone:
    if shape not in SHAPES:
        raise unknown("model", model, RANDOM)
    if tokenizer is None and shape != "tiny":
        raise RankprobeError(
            f"model '{model}' has the real T5 vocabulary and no tokenizer of its own; "
            "give one: --tokenizer FOLDER (or a hub id)"
        )
    pieces = load_tokenizer(tokenizer or "tiny")
    special: dict[str, Any] = {
        "decoder_start_token_id": pieces.pad_token_id,
        "pad_token_id": pieces.pad_token_id,
        "eos_token_id": pieces.eos_token_id,
    }
    rows = len(pieces) if shape == "tiny" else max(T5_ROWS, len(pieces))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = skeleton(shape, rows, **special)
    return Backbone(model, "random", network.to(dtype), pieces)


def _pretrained(model: str, tokenizer: str | None, dtype: torch.dtype, device_map: str | None) -> Backbone:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    def load(local: bool) -> Any:
        return spread(partial(load_all, local), device_map) if device_map else load_all(local)

    def load_all(local: bool, **placed: Any) -> Any:
        config = AutoConfig.from_pretrained(folder, local_files_only=local, trust_remote_code=False)
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        # Eager attention: as fast as SDPA for these shapes on CPU, and the one whose dropout is visible.
        with _no_progress_bar() if local else nullcontext(), _tensors_only():
            network, report = kind.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="eager",
                local_files_only=local,
                adapter_kwargs={"local_files_only": local},
                trust_remote_code=False,
                output_loading_info=True,
                **placed,
            )
        if report["missing_keys"]:
            raise ValueError(f"weights are missing, such as {sorted(report['missing_keys'])[0]}")
        return network

    folder = location(model)
    if Path(folder).is_dir():
        try:
            network = load(True)
        except BROKEN as error:
            check_lfs_folder(folder, ("*.json", "*.safetensors", "*.bin"))
            raise RankprobeError(
                f"model folder '{model}' holds no language model that transformers can load "
                f"({first_line(error)}); expected what save_pretrained writes"
            ) from None
        source = "bundled" if model in BUNDLED else "folder"
        return Backbone(model, source, network, load_tokenizer(tokenizer or folder))
    if model.startswith((".", "/", "~")):
        raise RankprobeError(
            f"model folder '{model}' does not exist; give a folder or a hub id such as t5-base"
        )
    close = [name for name in get_close_matches(model, KNOWN, n=1) if name != model]
    meant = f"did you mean '{close[0]}'? or " if close else ""
    network = from_hub(
        load, "model", model, dataset=False, offline=f"{meant}give a local folder: --model FOLDER"
    )
    return Backbone(model, "hub", network, load_tokenizer(tokenizer or model), cached_commit(model))


def location(model: str) -> str:
    """Where other tools find a model: a bundled one in our package, any other under its own name."""
    return str(BUNDLED.get(model, model))


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Without transformers' bar, where nothing is downloaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Pickles of more than tensors are refused, without torch's advice on how to load them all the same."""
    try:
        yield
    except UnpicklingError:
        raise ValueError("its weights are a pickle of more than tensors, which could run code") from None


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a hub id, a folder, or a bundled backbone.

    Raises:
        RankprobeError: unknown or unreachable.
    """
    from transformers import AutoTokenizer

    def load(local: bool) -> Any:
        if local and not is_cached(name, TOKENIZER_FILES):
            # From a cache with the model alone, transformers makes a tokenizer without pieces.
            raise OSError("no tokenizer in the cache")
        return _padding(AutoTokenizer.from_pretrained(name, local_files_only=local, trust_remote_code=False))

    name = location(name)
    if not Path(name).exists():
        return from_hub(
            load,
            "tokenizer",
            name,
            dataset=False,
            offline="give a local folder: --tokenizer FOLDER",
        )
    if not (Path(name) / "tokenizer_config.json").is_file():
        raise RankprobeError(f"tokenizer '{name}' is no folder with a tokenizer_config.json")
    # vocab.txt and merges.txt are read without an error, whatever they hold.
    check_lfs_folder(name, ("*.txt",))
    try:
        return _padding(AutoTokenizer.from_pretrained(name, trust_remote_code=False))
    except Exception as error:  # tokenizers, in Rust, has no other class for a damaged tokenizer.json
        check_lfs_folder(name, ("*.json", "*.model"))
        raise RankprobeError(f"tokenizer '{name}' cannot be loaded ({first_line(error)})") from None


def _padding(tokenizer: Any) -> Any:
    """The tokenizer, padding with its end-of-sequence piece where it has none for that, as GPT-2's."""
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _greedy(backbone: Backbone) -> Any:
    """The likeliest token at each step, to the end piece that was taught: not the model's own habits."""
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=backbone.tokenizer.eos_token_id,
        pad_token_id=backbone.tokenizer.pad_token_id,
        decoder_start_token_id=getattr(backbone.model.config, "decoder_start_token_id", None),
    )


def _check_device(device: str) -> None:
    try:
        if torch.device(device).type not in DEVICES:
            raise RuntimeError(f"expected one of {', '.join(DEVICES)}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RankprobeError(
            f"device '{device}' cannot be used ({first_line(error)}); see what there is: rankprobe env"
        ) from None


def _check_spliceable(backbone: Backbone) -> None:
    if "inputs_embeds" not in inspect.signature(backbone.model.forward).parameters:
        raise RankprobeError(
            f"model '{backbone.name}' ({type(backbone.model).__name__}) takes no inputs_embeds, so no soft "
            "prompt can be joined to it; use a model like T5, GPT-2 or Llama"
        )
    if backbone.causal and _looks_ahead(backbone):
        raise RankprobeError(
            f"model '{backbone.name}' ({type(backbone.model).__name__}) sees tokens that are still to come, "
            "so it cannot answer by going on; use a model like T5, GPT-2 or Llama"
        )


@torch.no_grad()
def _looks_ahead(backbone: Backbone) -> bool:
    """Whether the logits of a token depend on one behind it, as in encoders."""
    rows = backbone.embedding.detach()[:4]
    one, other = (backbone.model.eval()(inputs_embeds=rows[None, chosen]).logits[0, :2] for chosen in CHOSEN)
    return not torch.equal(one, other)
