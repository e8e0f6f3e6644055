"""A trained prompt, taken from its run folder: into a model, into files, among the words."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from rankprobe.backbone import Backbone, Soft, fingerprint, location
from rankprobe.errors import RankprobeError
from rankprobe.prompts import StartConfig, build
from rankprobe.rank import nearest
from rankprobe.runs import Run, write_prompt
from rankprobe.training.exam import longest_answer, task_of
from rankprobe.training.seeding import torch_generator
from rankprobe.training.session import backbone_of, config_of
from rankprobe.training.words import words_for

Which = Literal["final", "best"]
"""The prompt of the last step, or of the best dev score."""

FACTORS = {"final": "factor.", "best": "best_factor."}


def check_backbone(run: Run, backbone: Backbone) -> None:
    """Make sure that a backbone is the one a run was trained on.

    Raises:
        RankprobeError: it is not.
    """
    if fingerprint(backbone) != run.manifest["backbone"]["fingerprint"]:
        raise RankprobeError(
            f"run '{run.id}' was trained on other weights than those of '{backbone.name}' now; restore them"
        )


def answer_limit(run: Run, backbone: Backbone) -> int:
    """How many tokens a decoded answer of a run may have, in its training and ever after."""
    # Manifests of earlier versions do not say.
    return run.manifest["data"].get("max_new_tokens") or longest_answer(config_of(run).task, backbone)


def trained_soft(run: Run, backbone: Backbone, which: Which) -> Soft:
    """What a finished run gives to the input; a fine-tuned run gives its weights to `backbone` too.

    Raises:
        RankprobeError: the run has not finished, or another `which`.
    """
    if which not in FACTORS:
        raise RankprobeError(f"which is '{which}'; expected {' or '.join(FACTORS)}")
    config, tensors = config_of(run), run.tensors()
    method = config.method
    if method.prompt_is_all:
        return Soft(torch.from_numpy(run.prompt(which)))
    if isinstance(method, StartConfig):  # the saved factors take its place
        method = method.model_copy(update={"init": "vocabulary", "init_text": None, "init_from": None})
    words = words_for(method, backbone, task_of(config.task).answer_set(config.task.targets))
    module = build(method, words, torch_generator(config.seed, "init"))
    with torch.no_grad():
        for name, parameter in module.trainable(backbone.model).items():
            parameter.copy_(torch.from_numpy(tensors[FACTORS[which] + name]))
        return Soft(module(), module.text_shift())


def neighbors(run: Run, *, which: Which = "final", count: int = 5, metric: str = "cosine") -> pd.DataFrame:
    """The pieces of the vocabulary nearest to each prompt token: token, place, piece, and its closeness.

    Source: Lester et al. (2021), section 7. Raises: as `rank.nearest`, or a run without a prompt.
    """
    P = run.prompt(which)
    if not len(P):
        raise RankprobeError(f"run '{run.id}' has no prompt ({config_of(run).method.name})")
    config = config_of(run)
    backbone = backbone_of(config, device=None if config.backbone.device_map else "cpu")
    check_backbone(run, backbone)
    order, closeness = nearest(P, backbone.vocabulary().numpy(), count, metric)
    pieces = backbone.tokenizer.convert_ids_to_tokens(backbone.piece_ids)
    return pd.DataFrame(
        [
            {"token": token, "place": place, "piece": pieces[row], metric: value}
            for token, (rows, values) in enumerate(zip(order, closeness, strict=True))
            for place, (row, value) in enumerate(zip(rows, values, strict=True), start=1)
        ]
    )


def export_run(run: Run, place: str | Path, kind: str, *, which: Which = "final") -> Path:
    """Write a run's prompt as `peft`, `npy` or `safetensors`; see `runs.write_prompt`.

    Raises:
        RankprobeError: the run's prompt is not all that was trained, or as `runs.write_prompt`.
    """
    config, backbone = config_of(run), run.manifest["backbone"]
    if not config.method.prompt_is_all:
        raise RankprobeError(
            f"run '{run.id}' trained more than a prompt ({config.method.name}), so an exported prompt would "
            "not behave as it does; its factors are in prompt.safetensors"
        )
    return write_prompt(
        run.prompt(which),
        place,
        kind,
        model=location(config.backbone.model),
        causal=backbone.get("causal", False),
    )
