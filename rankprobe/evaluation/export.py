"""A trained prompt in the formats of other tools."""

from __future__ import annotations

from pathlib import Path

from rankprobe.backbone import location
from rankprobe.config.folders import config_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import Which
from rankprobe.runs import Run, write_prompt


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
        model=location(config.model),
        causal=backbone.get("causal", False),
    )
