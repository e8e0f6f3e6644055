"""Train many runs.

spec      read an experiment: a TOML file with the settings that vary
plan      group its configs into cohorts, and split the cohorts into shards
engine    train the cohorts in this process
cluster   train the cohorts on a Ray cluster
slurm     train the cohorts as SLURM jobs
"""

from rankprobe.sweeps.engine import Cohort, Engine, Outcome, in_this_process, is_finished, sweep
from rankprobe.sweeps.plan import MAX_MEMBERS, pack, shard
from rankprobe.sweeps.spec import Spec, chosen_scale, configs_of, grid, load_spec

__all__ = [
    "MAX_MEMBERS",
    "Cohort",
    "Engine",
    "Outcome",
    "Spec",
    "chosen_scale",
    "configs_of",
    "grid",
    "in_this_process",
    "is_finished",
    "load_spec",
    "pack",
    "shard",
    "sweep",
]
