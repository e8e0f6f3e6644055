"""Getting a backbone: bundled, a hub id, a folder, a GGUF file, or `random:<shape>` with random weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from rankprobe import bundled
from rankprobe.backbone.allocator import keep_memory
from rankprobe.backbone.base import Backbone
from rankprobe.backbone.causal import arguments
from rankprobe.backbone.check import examined, refusal
from rankprobe.backbone.device import check_device, chosen_device, chosen_dtype
from rankprobe.backbone.fast_layers import fast_layers, fused_attention
from rankprobe.backbone.gguf import PACKAGED, dequantized, is_gguf
from rankprobe.backbone.offload import is_offloaded, offload
from rankprobe.backbone.shapes import SHAPES, T5_ROWS, skeleton
from rankprobe.errors import RankprobeError, first_line, unknown
from rankprobe.hub import Found, cached_commit, from_hub, no_progress_bar, one_at_a_time
from rankprobe.lfs import check_lfs_folder

BUNDLED = {name: bundled.FOLDER / name for name in bundled.BACKBONES}
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "spiece.model", "tokenizer.model")
NEEDS_SENTENCEPIECE = re.compile("sentencepiece|tiktoken", re.IGNORECASE)
"""What transformers names where it is missing: without sentencepiece, it takes its files for tiktoken's."""
RANDOM = [f"random:{shape}" for shape in SHAPES]
BROKEN = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ImportError,
          SafetensorError, StrictDataclassError)  # fmt: skip
"""What transformers raises over the files of a damaged model, or of one that needs a missing package."""
PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""Types of weights that gradients pass through. A model saved in 4 or 8 bit has others."""
KNOWN = [*BUNDLED, *PACKAGED, *RANDOM, "t5-small", "t5-base", "t5-large"]


@one_at_a_time
def load_backbone(
    model: str,
    *,
    tokenizer: str | None = None,
    dtype: str | None = None,
    seed: int = 0,
    device: str = "auto",
    device_map: str | None = None,
) -> Backbone:
    """Load a frozen backbone, ready to be spliced.

    Args:
        model: `tiny` or `mini` (bundled), a hub id (`t5-base`), a folder written by `save_pretrained`, the
            path of a GGUF file, `smollm2` (the GGUF file of a package), or `random:` and a shape of `SHAPES`.
        tokenizer: hub id or folder; unset: the model's own (for `random:tiny` that of `tiny`).
        dtype: of the frozen weights: float32, bfloat16, or float64 (numerical tests); unset: bfloat16 on
            CUDA, else float32.
        seed: of the weights of `random:` backbones; others ignore it.
        device: a torch device, or `auto`: CUDA, else MPS, else the CPU.
        device_map: instead of `device`, how accelerate spreads the weights over several; see
            `device_map.parse_device_map`.

    Raises:
        RankprobeError: unknown or unreachable model, tokenizer or device, a model that cannot be spliced,
            or weights that cannot be spread.
    """
    device = chosen_device(device, dtype)
    check_device(device)
    kind, _, shape = model.partition(":")
    weights = getattr(torch, chosen_dtype(dtype, device, device_map))
    if kind == "random" and device_map:
        raise RankprobeError(
            f"model '{model}' is made in memory, and --device-map spreads what is loaded; leave it out"
        )
    if kind == "random":
        backbone = _random(model, shape, tokenizer, weights, seed)
    else:
        backbone = _pretrained(model, tokenizer, weights, device_map)
    return prepared(backbone, None if device_map else device)


def prepared(backbone: Backbone, device: str | None = "cpu") -> Backbone:
    """A newly loaded backbone, frozen, on its device, and checked; see `examined`.

    Args:
        backbone: as loaded.
        device: a torch device; None: its weights stay where they are.

    Raises:
        RankprobeError: no soft prompt can be joined to it.
    """
    _check_spliceable(backbone)
    if not backbone.causal:
        _note_start_token(backbone.model)
    backbone.model.generation_config = _greedy(backbone)
    backbone.model.requires_grad_(False).eval()
    if device is not None:
        backbone.model.to(device)
    if not is_offloaded(backbone.model):  # else accelerate's hooks hold on to the plain layers
        fast_layers(backbone.model)
        if backbone.causal and backbone.device.type == "cuda":
            fused_attention(backbone.model)
    if backbone.device.type == "cpu":
        keep_memory()
    return examined(backbone)


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

    def load(local_files_only: bool) -> Any:
        load_here = partial(load_all, local_files_only)
        return offload(load_here, device_map) if device_map else load_here()

    def load_all(local: bool, **placed: Any) -> Any:
        config = AutoConfig.from_pretrained(folder, local_files_only=local, trust_remote_code=False)
        _dequantize(model, config)
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        # Eager attention: faster than SDPA for these shapes on a CPU, and the one whose dropout is visible.
        with no_progress_bar() if local else nullcontext(), _tensors_only():
            network, report = kind.from_pretrained(
                folder,
                config=config,
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
        if any(parameter.dtype not in PLAIN for parameter in network.parameters()):
            raise _quantized(model, "weights of another type than floating point")
        return network

    folder = location(model)
    network = _found(model, load)
    if is_gguf(model):
        file = dequantized(model)
        pieces = load_tokenizer(tokenizer or folder)
        return Backbone(model, "gguf", network, pieces, f"sha256:{file.sha256}", file_label=file.label)
    if Path(folder).is_dir():
        source = "bundled" if model in BUNDLED else "folder"
        return Backbone(model, source, network, load_tokenizer(tokenizer or folder))
    return Backbone(model, "hub", network, load_tokenizer(tokenizer or model), cached_commit(model))


@one_at_a_time
def check_model(model: str) -> None:
    """Make sure that there is such a model, by its config alone: its weights may take minutes to load.

    Raises:
        RankprobeError: there is not, transformers does not know its kind, or its weights cannot be used.
    """
    from transformers import AutoConfig

    if not model.startswith("random:"):
        read = partial(AutoConfig.from_pretrained, location(model), trust_remote_code=False)
        _dequantize(model, _found(model, read))


def _found(model: str, load: Callable[..., Found]) -> Found:
    """What `load(local_files_only=…)` gives for a model in a folder, in the cache or on the hub.

    Raises:
        RankprobeError: there is no such model, or it cannot be loaded.
    """
    if Path(location(model)).is_dir():
        try:
            return load(local_files_only=True)
        except BROKEN as error:
            check_lfs_folder(location(model), ("*.json", "*.safetensors", "*.bin"))
            raise RankprobeError(
                f"model folder '{model}' holds no language model that transformers can load "
                f"({first_line(error)}); expected what save_pretrained writes"
            ) from None
    if model.startswith((".", "/", "~")):
        raise RankprobeError(
            f"model folder '{model}' does not exist; give a folder or a hub id such as t5-base"
        )
    close = [name for name in get_close_matches(model, KNOWN, n=1) if name != model]
    meant = f"did you mean '{close[0]}'? or " if close else ""
    return from_hub(
        lambda local: load(local_files_only=local),
        "model",
        model,
        dataset=False,
        offline=f"{meant}give a local folder: --model FOLDER",
    )


def _dequantize(model: str, config: Any) -> None:
    """Let weights saved in 4 or 8 bit be loaded in floating point; transformers can do so for some formats.

    Raises:
        RankprobeError: not for this one.
    """
    saved = getattr(config, "quantization_config", None)
    if saved is None:
        return
    from transformers.quantizers.auto import AutoQuantizationConfig

    try:
        supported = hasattr(AutoQuantizationConfig.from_dict(dict(saved)), "dequantize")
    except BROKEN:  # an unknown format, or one whose package is missing
        supported = False
    if not supported:
        raise _quantized(model, str(saved.get("quant_method", "an unknown format")))
    config.quantization_config = {**saved, "dequantize": True}


def _quantized(model: str, how: str) -> RankprobeError:
    return RankprobeError(
        f"model '{model}' is saved in 4 or 8 bit ({how}), and a soft prompt needs weights in floating point; "
        "give the model that it was made from, or save it again after model.dequantize()"
    )


def location(model: str) -> str:
    """Where other tools find a model: a bundled one in our package, a GGUF file's weights in the cache, any
    other under its own name.

    Raises:
        RankprobeError: the GGUF file cannot be used; see `dequantized`.
    """
    return str(dequantized(model).folder) if is_gguf(model) else str(BUNDLED.get(model, model))


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Pickles of more than tensors are refused, without torch's advice on how to load them all the same."""
    try:
        yield
    except UnpicklingError:
        raise ValueError("its weights are a pickle of more than tensors, which could run code") from None


@one_at_a_time
def load_tokenizer(name: str) -> Any:
    """The tokenizer of a hub id, a folder, or a bundled backbone.

    Raises:
        RankprobeError: unknown or unreachable.
    """
    from transformers import AutoTokenizer

    def load(local: bool) -> Any:
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local, trust_remote_code=False)
        except Exception as error:  # from a cache without its files, of many kinds
            if find_spec("sentencepiece") is None and NEEDS_SENTENCEPIECE.search(str(error)):
                raise RankprobeError(
                    f"tokenizer '{name}' needs sentencepiece; pip install sentencepiece"
                ) from None
            raise OSError(first_line(error)) from error
        if not _has_pieces(tokenizer):
            raise OSError("its vocabulary is missing")
        return _padding(tokenizer)

    name = location(name)
    if not Path(name).exists():
        if name.startswith((".", "/", "~")):
            raise RankprobeError(
                f"tokenizer folder '{name}' does not exist; give a folder or a hub id such as t5-base"
            )
        return from_hub(
            load,
            "tokenizer",
            name,
            dataset=False,
            offline="give a local folder: --tokenizer FOLDER",
        )
    # vocab.txt and merges.txt are read without an error, whatever they hold.
    check_lfs_folder(name, ("*.txt",))
    try:
        return load(True)
    except RankprobeError:
        raise
    except Exception as error:  # tokenizers, in Rust, has no other class for a damaged tokenizer.json
        check_lfs_folder(name, ("*.json", "*.model"))
        if not any((Path(name) / each).is_file() for each in TOKENIZER_FILES):
            expected = ", ".join(TOKENIZER_FILES)
            raise RankprobeError(f"tokenizer '{name}' is no folder with one of {expected}") from None
        raise RankprobeError(f"tokenizer '{name}' cannot be loaded ({first_line(error)})") from None


def _has_pieces(tokenizer: Any) -> bool:
    """Whether it can tell texts apart.

    Where its files are missing, transformers makes one of special tokens and, for T5, the sign of a space.
    """
    added = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    return len(set(tokenizer.get_vocab()) - added) > 1


def _padding(tokenizer: Any) -> Any:
    """The tokenizer, padding with its end-of-sequence piece where it has none for that, as GPT-2's."""
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _greedy(backbone: Backbone) -> Any:
    """Greedy decoding up to the tokenizer's end-of-sequence token, whatever the model's own settings."""
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=backbone.tokenizer.eos_token_id,
        pad_token_id=backbone.tokenizer.pad_token_id,
        decoder_start_token_id=getattr(backbone.model.config, "decoder_start_token_id", None),
    )


def _note_start_token(model: Any) -> None:
    """Copy the decoder's start token into the config if only the settings for generation have it."""
    habits = getattr(model, "generation_config", None)
    if getattr(model.config, "decoder_start_token_id", None) is None:
        model.config.decoder_start_token_id = getattr(habits, "decoder_start_token_id", None)


def _check_spliceable(backbone: Backbone) -> None:
    if "inputs_embeds" not in arguments(backbone):
        raise refusal(backbone, "takes no inputs_embeds, so no soft prompt can be joined to it")
