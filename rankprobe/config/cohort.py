"""Which runs can be trained together in one pass."""

from __future__ import annotations

from typing import Any

from rankprobe.config.run import RunConfig
from rankprobe.config.sections import BackboneConfig, TaskConfig

SCHEDULE = ("batch_size", "epochs", "steps", "stop_after", "batching", "eval_every", "checkpoint_every")


def cohort_key(config: RunConfig) -> dict[str, Any]:
    """The settings that the members of a cohort share; a run that trains its backbone shares with none.

    Members may train on different halves of the rows, as these are of one size.
    """
    return {
        **{name: value for name, value in config.section(TaskConfig).items() if name != "train_half"},
        **config.section(BackboneConfig),
        "prompt_length": config.method.prompt_length,
        **{name: getattr(config, name) for name in SCHEDULE},
        "frozen backbone": config.run_id if config.method.trains_backbone else True,
    }
