"""The run folder: how runs are written to disk, and how they are read back into pandas frames."""

from rankprobe.runs.exchange import read_prompt, read_prompts, write_prompt
from rankprobe.runs.folder import (
    CHECKPOINTS,
    LOGS,
    MANIFEST,
    PROMPT,
    Run,
    create_run,
    find_run,
    is_folder_of_runs,
    list_runs,
    new_run,
    runs_at,
    truncation_file,
)
from rankprobe.runs.frames import SUMMARY, Frames, frames_of, list_frame, list_rows, load_runs
from rankprobe.runs.plans import PLANS, Plan, read_plans, write_plan
from rankprobe.runs.replicates import over_seeds, replicates, replicates_of, setting_text, shared_settings
from rankprobe.runs.scores import HALF, is_half, reported, reported_baseline, scored_data_labels

__all__ = [
    "CHECKPOINTS",
    "HALF",
    "LOGS",
    "MANIFEST",
    "PLANS",
    "PROMPT",
    "SUMMARY",
    "Frames",
    "Plan",
    "Run",
    "create_run",
    "find_run",
    "frames_of",
    "is_folder_of_runs",
    "is_half",
    "list_frame",
    "list_rows",
    "list_runs",
    "load_runs",
    "new_run",
    "over_seeds",
    "read_plans",
    "read_prompt",
    "read_prompts",
    "replicates",
    "replicates_of",
    "reported",
    "reported_baseline",
    "runs_at",
    "scored_data_labels",
    "setting_text",
    "shared_settings",
    "truncation_file",
    "write_plan",
    "write_prompt",
]
