"""A trained prompt in the formats of other tools."""

from __future__ import annotations

from pathlib import Path

from rankprobe.backbone import location
from rankprobe.config.folders import config_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import Which
from rankprobe.runs import Run, write_prompt


def export_run(
    run: Run,
    place: str | Path,
    kind: str,
    *,
    which: Which = "final",
    card: str | None = None,
    portable: bool = False,
) -> Path:
    """Write a run's prompt as `peft`, `npy` or `safetensors`; see `runs.write_prompt`.

    Args:
        run: a finished run.
        place: a new folder (`peft`) or file.
        kind: the format.
        which: the prompt.
        card: the model card of an adapter, as `reports.model_card` writes it.
        portable: name a model of this machine by its name, not by its path: the path means nothing elsewhere,
            and may hold the name of its user.

    Raises:
        RankprobeError: the run's prompt is not all that was trained, or as `runs.write_prompt`.
    """
    check_exportable(run)
    config, backbone = config_of(run), run.manifest["backbone"]
    local = backbone.get("source") != "hub"
    return write_prompt(
        run.prompt(which),
        place,
        kind,
        model=Path(config.model).name if portable and local else location(config.model),
        causal=backbone.get("causal", False),
        card=card,
    )


def check_exportable(run: Run) -> None:
    """Check that the prompt of a run is all that it trained.

    Raises:
        RankprobeError: it is not.
    """
    method = config_of(run).method
    if not method.prompt_is_all:
        raise RankprobeError(
            f"run '{run.id}' trained more than a prompt ({method.name}), so an exported prompt would not "
            "behave as it does; its factors are in prompt.safetensors"
        )
