"""A run of about a second; without the imports of conftest, for scripts that tests start."""

from __future__ import annotations

from rankprobe.config import RunConfig

QUICK = {
    "data": "bundled",
    "model": "random:tiny",
    "prompt_length": 8,
    "steps": 6,
    "batch_size": 8,
    "eval_every": 3,
    "spectrum_every": 2,
}


def quick(**settings) -> RunConfig:
    """A config that trains in about a second."""
    without_prompt = {"prompt_length": 0} if settings.get("method") == "finetune" else {}
    return RunConfig.parse({**QUICK, **without_prompt, **settings})
