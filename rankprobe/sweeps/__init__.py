"""Many runs: an experiment (TOML), its plan (configs in cohorts), and the engines that train them."""

from rankprobe.sweeps.engine import Cohort, Engine, Outcome, in_this_process, is_finished, sweep
from rankprobe.sweeps.plan import MOST, pack, shard
from rankprobe.sweeps.spec import Spec, chosen_scale, configs_of, grid, load_spec

__all__ = [
    "MOST",
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
