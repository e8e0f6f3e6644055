"""Loads a finished run: its backbone and its prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from rankprobe.backbone import Backbone, PromptInput, chosen_device, chosen_dtype, fingerprint, load_backbone
from rankprobe.config import BackboneConfig, RunConfig
from rankprobe.config.folders import config_of
from rankprobe.data.eval_set import max_answer_length, task_of
from rankprobe.data.init_sources import init_sources
from rankprobe.data.seeding import torch_generator
from rankprobe.errors import RankprobeError
from rankprobe.prompts import StartConfig, build
from rankprobe.runs import Run

Which = Literal["final", "best"]
"""Which prompt of a run: of the last step, or of the best dev score."""

FACTORS = {"final": "factor.", "best": "best_factor."}


def backbone_of(config: RunConfig, device: str | None = None) -> Backbone:
    """Load the backbone of a config; `device` overrides its device and its device map."""
    own = on_this_machine(config)
    backbone = load_backbone(
        own.model,
        tokenizer=own.tokenizer,
        dtype=own.dtype,
        seed=own.model_seed,
        device=device or own.device,
        device_map=None if device else own.device_map,
    )
    return with_template(backbone, config.template)


def with_template(backbone: Backbone, template: str) -> Backbone:
    """The backbone, reading texts as the setting `template` asks for.

    Raises:
        RankprobeError: `template` is `chat`, and the tokenizer has no chat template.
    """
    chat = template == "chat"
    if chat and not (backbone.causal and getattr(backbone.tokenizer, "chat_template", None)):
        raise RankprobeError(f"model '{backbone.name}' has no chat template; leave out --template chat")
    return replace(backbone, chat=chat)


def on_this_machine(config: RunConfig) -> RunConfig:
    """The config with the device and the dtype that its run gets on this machine, as in its manifest."""
    dtype = config.dtype or config.default_dtype
    chosen = {
        "dtype": chosen_dtype(dtype, config.device, config.device_map),
        "device": config.device if config.device_map else chosen_device(config.device, dtype),
    }
    return config.model_copy(update=chosen)


def check_backbone(run: Run, backbone: Backbone) -> None:
    """Check that a run was trained on this backbone.

    Raises:
        RankprobeError: the weights are not those of the training.
    """
    if fingerprint(backbone) != run.manifest["backbone"]["fingerprint"]:
        raise RankprobeError(
            f"run '{run.id}' was trained on other weights than those of '{backbone.name}' now; restore them"
        )


def answer_limit(run: Run, backbone: Backbone) -> int:
    """The most tokens of a decoded answer of a run, the same in training and afterwards."""
    # Manifests of earlier versions lack it.
    return run.manifest["data"].get("max_new_tokens") or max_answer_length(config_of(run), backbone)


def load_prompt(run: Run, backbone: Backbone, which: Which) -> PromptInput:
    """The trained prompt of a finished run. A fine-tuned run also copies its weights into `backbone`.

    Raises:
        RankprobeError: the run has not finished, or `which` is not a prompt.
    """
    if which not in FACTORS:
        raise RankprobeError(f"which is '{which}'; expected {' or '.join(FACTORS)}")
    config, tensors = config_of(run), run.tensors()
    method = config.method
    if method.prompt_is_all:
        return PromptInput(torch.from_numpy(run.prompt(which)))
    if isinstance(method, StartConfig):  # the saved factors replace it
        method = method.model_copy(update={"init": "vocabulary", "init_text": None, "init_from": None})
    sources = init_sources(method, backbone, task_of(config).answer_set(config.targets))
    module = build(method, sources, torch_generator(config.start_seed, "init"))
    with torch.no_grad():
        for name, parameter in module.trainable(backbone.model).items():
            parameter.copy_(torch.from_numpy(tensors[FACTORS[which] + name]))
        return PromptInput(module(), module.text_shift())


def sharing_a_pass(
    runs: Sequence[Run], asked: Sequence[Mapping[str, Any]] | None = None
) -> Iterable[list[int]]:
    """Indices of runs that can share a pass: the same backbone, prompt length and task settings `asked`.

    A run that trained its backbone shares with no other.
    """
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        config = config_of(run)
        alone = str(run.path.resolve()) if config.method.trains_backbone else ""
        shared = [config.section(BackboneConfig), config.method.prompt_length, alone, asked and asked[i]]
        groups.setdefault(json.dumps(shared), []).append(i)
    return groups.values()
