"""A trained prompt, taken from its run folder: into a model, into files, among the words."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from rankprobe.backbone import Backbone, Soft, load_backbone
from rankprobe.errors import RankprobeError
from rankprobe.prompts import build
from rankprobe.rank import nearest
from rankprobe.runs import Run, write_prompt
from rankprobe.training.config import RunConfig
from rankprobe.training.exam import task_of
from rankprobe.training.seeding import torch_generator
from rankprobe.training.words import words_for

Which = Literal["final", "best"]
"""The prompt of the last step, or of the best dev score."""

FACTORS = {"final": "factor.", "best": "best_factor."}


def config_of(run: Run) -> RunConfig:
    return RunConfig.parse(run.manifest["config"])


def backbone_of(config: RunConfig) -> Backbone:
    own = config.backbone
    return load_backbone(
        own.model, tokenizer=own.tokenizer, dtype=own.dtype, seed=own.model_seed, device=own.device
    )


def trained_soft(run: Run, backbone: Backbone, which: Which) -> Soft:
    """What a finished run gives to the input; a fine-tuned run gives its weights to `backbone` too.

    Raises:
        RankprobeError: the run has not finished.
    """
    config, tensors = config_of(run), run.tensors()
    if config.method.prompt_is_all:
        return Soft(torch.from_numpy(run.prompt(which)))
    words = words_for(config.method, backbone, task_of(config.task).answer_set(config.task.targets))
    method = build(config.method, words, torch_generator(config.seed, "init"))
    with torch.no_grad():
        for name, parameter in method.trainable(backbone.model).items():
            parameter.copy_(torch.from_numpy(tensors[FACTORS[which] + name]))
        return Soft(method(), method.text_shift())


def neighbors(run: Run, *, which: Which = "best", count: int = 5, metric: str = "cosine") -> pd.DataFrame:
    """The pieces of the vocabulary nearest to each prompt token: token, place, piece, and its closeness.

    Source: Lester et al. (2021), section 7. Raises: as `rank.nearest`.
    """
    backbone = backbone_of(config_of(run))
    order, closeness = nearest(run.prompt(which), backbone.vocabulary().numpy(), count, metric)
    pieces = backbone.tokenizer.convert_ids_to_tokens(backbone.piece_ids)
    return pd.DataFrame(
        [
            {"token": token, "place": place, "piece": pieces[row], metric: value}
            for token, (rows, values) in enumerate(zip(order, closeness, strict=True))
            for place, (row, value) in enumerate(zip(rows, values, strict=True), start=1)
        ]
    )


def export_run(run: Run, place: str | Path, kind: str, *, which: Which = "best") -> Path:
    """Write a run's prompt as `peft`, `npy` or `safetensors`; see `runs.write_prompt`.

    Raises:
        RankprobeError: the run's prompt is not all that was trained, or as `runs.write_prompt`.
    """
    config = config_of(run)
    if not config.method.prompt_is_all:
        raise RankprobeError(
            f"run '{run.id}' trained more than a prompt ({config.method.name}), so an exported prompt would "
            "not behave as it does; its factors are in prompt.safetensors"
        )
    causal = run.manifest["backbone"].get("causal", False)
    return write_prompt(run.prompt(which), place, kind, model=config.backbone.model, causal=causal)
