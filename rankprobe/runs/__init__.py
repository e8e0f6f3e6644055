"""What is written down: the run folder, and the way back into pandas frames."""

from rankprobe.runs.exchange import read_prompt, read_prompts, write_prompt
from rankprobe.runs.folder import (
    CHECKPOINTS,
    LOGS,
    MANIFEST,
    PROMPT,
    TRUNCATION,
    Run,
    create_run,
    find_run,
    list_runs,
    new_run,
)
from rankprobe.runs.frames import Frames, list_frame, load_runs
from rankprobe.runs.plans import PLANS, Plan, read_plans, write_plan

__all__ = [
    "CHECKPOINTS",
    "LOGS",
    "MANIFEST",
    "PLANS",
    "PROMPT",
    "TRUNCATION",
    "Frames",
    "Plan",
    "Run",
    "create_run",
    "find_run",
    "list_frame",
    "list_runs",
    "load_runs",
    "new_run",
    "read_plans",
    "read_prompt",
    "read_prompts",
    "write_plan",
    "write_prompt",
]
